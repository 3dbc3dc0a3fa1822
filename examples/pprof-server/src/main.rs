//! A service with its heap profile behind a URL.
//!
//! ```sh
//! cargo run --release --manifest-path examples/pprof-server/Cargo.toml
//! curl 'localhost:8080/work?items=100000'
//! go tool pprof -http=: 'http://localhost:8080/debug/pprof/heap'
//! curl -o growth.pb.gz 'localhost:8080/debug/pprof/heap?seconds=10'    # what changes within ten seconds
//! curl 'localhost:8080/debug/pprof/heap?debug=1'                       # a list to be read
//! ```
//!
//! Parca and Pyroscope scrape `/debug/pprof/heap` and `/debug/pprof/allocs` as they do of a Go program.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::Query;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use freestone_profile::{Measure, Profile, Raw, Symbols};

#[global_allocator]
static GLOBAL: freestone::Freestone = freestone::Freestone;

/// What scrapers send; anything else is ignored.
#[derive(serde::Deserialize)]
struct Parameters {
    /// A difference over so many seconds.
    seconds: Option<u64>,
    /// Not zero: text.
    debug: Option<u32>,
}

/// The profile at this moment, with names. Reads symbols the first time, so it is not for an asynchronous thread.
fn taken() -> Result<Profile, String> {
    static SYMBOLS: OnceLock<Mutex<Symbols>> = OnceLock::new();
    let mut text = String::new();
    freestone::profile::write(&mut text).map_err(|_| "the allocator is busy".to_string())?;
    let raw = Raw::parse(&text).map_err(|damage| damage.to_string())?;
    let symbols = SYMBOLS.get_or_init(|| Mutex::new(Symbols::new()));
    Ok(symbols.lock().map_err(|error| error.to_string())?.resolve(&raw))
}

async fn taken_apart() -> Result<Profile, String> {
    tokio::task::spawn_blocking(taken).await.map_err(|error| error.to_string())?
}

async fn profile(parameters: Parameters, text_of: Measure) -> Result<Response, String> {
    let mut profile = taken_apart().await?;
    if let Some(seconds) = parameters.seconds.filter(|&seconds| seconds > 0) {
        tokio::time::sleep(Duration::from_secs(seconds.min(300))).await;
        profile = taken_apart().await?.less(&profile);
    }
    if parameters.debug.is_some_and(|debug| debug > 0) {
        return Ok(profile.top(text_of, 100).into_response());
    }
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"heap.pb.gz\""),
    ];
    Ok((headers, profile.to_pprof()).into_response())
}

fn answer(outcome: Result<Response, String>) -> Response {
    outcome.unwrap_or_else(|message| (StatusCode::SERVICE_UNAVAILABLE, message).into_response())
}

/// Something to be seen in a profile: a cache that is never emptied.
async fn work(Query(wanted): Query<HashMap<String, usize>>) -> String {
    static CACHE: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let items = wanted.get("items").copied().unwrap_or(1000).min(10_000_000);
    let mut cache = CACHE.lock().unwrap_or_else(|broken| broken.into_inner());
    cache.extend((0..items).map(|n| format!("an item of the cache with the number {n:>40}")));
    format!("{} items\n", cache.len())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    freestone::profile::start(freestone::profile::DEFAULT_MEAN)?;
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let service = Router::new()
        .route("/work", get(work))
        .route(
            "/debug/pprof/heap",
            get(|Query(p): Query<Parameters>| async { answer(profile(p, Measure::LiveBytes).await) }),
        )
        .route(
            "/debug/pprof/allocs",
            get(|Query(p): Query<Parameters>| async { answer(profile(p, Measure::AllocatedBytes).await) }),
        );
    axum::serve(tokio::net::TcpListener::bind(&address).await?, service).await?;
    Ok(())
}

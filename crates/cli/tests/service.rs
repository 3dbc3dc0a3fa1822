//! A service under watch: what it tells Prometheus, and what `freestone why` makes of its figures.
//!
//! The service is the example `service` of the allocator, as `cargo test --workspace` builds it; what is missing is skipped
//! with a message. Prometheus is Debian's package `prometheus`.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_freestone");

/// The running service; dropping it ends it.
struct Service {
    child: Child,
    address: String,
}

impl Service {
    /// Starts it on a port of the system's choice; `None` where it is not built.
    fn start() -> Option<Service> {
        let program = Path::new(EXECUTABLE).parent()?.join("examples/service");
        if !program.is_file() {
            eprintln!(
                "skipped: the example `service` is not built (cargo build -p freestone --example service)"
            );
            return None;
        }
        let mut command = Command::new(program);
        command.arg("127.0.0.1:0").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.env_remove("FREESTONE_CONF").spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect("an address").to_string();
        Some(Service { child, address })
    }

    fn get(&self, path: &str) -> String {
        get(&self.address, path)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The body of the answer.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains(" 200 "), "{path}: {head}");
    body.to_string()
}

/// A directory for one test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("freestone-service-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What `freestone why` says of the service before and after `requests`.
fn why(service: &Service, name: &str, requests: &[&str]) -> String {
    let scratch = Scratch::new(name);
    let before = scratch.file("before.json", &service.get("/ledger"));
    requests.iter().for_each(|path| drop(service.get(path)));
    let after = scratch.file("after.json", &service.get("/ledger"));
    let output = Command::new(EXECUTABLE).arg("why").args([before, after]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    println!("{text}");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn why_tells_a_leak_from_fragmentation() {
    let Some(service) = Service::start() else { return };
    service.get("/work");
    let text = why(&service, "leak", &["/leak", "/leak", "/leak"]);
    assert!(
        text.contains("% of that: the program holds more blocks, which is a leak if it goes on"),
        "{text}"
    );
    assert!(text.contains("150,000 blocks more of 208 bytes"), "{text}");
    let text = why(&service, "fragments", &["/fragment", "/fragment"]);
    assert!(text.contains("which is fragmentation, not a leak"), "{text}");
    assert!(!text.contains("% of that: the program holds more"), "{text}");
    let text = why(&service, "calm", &["/work"; 20]);
    assert!(!text.contains("Live blocks:"), "{text}");
}

/// Ends the program when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn prometheus_scrapes_every_family() {
    let Some(service) = Service::start() else { return };
    let Ok(version) = Command::new("prometheus").arg("--version").output() else {
        return freestone_testkit::skipped(format_args!(
            "prometheus is not installed (apt-get install prometheus)"
        ));
    };
    assert!(version.status.success());
    let scratch = Scratch::new("prometheus");
    check_text(&service, &scratch);
    let config = format!(
        "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n\
         scrape_configs:\n\
         - job_name: service\n\
         \x20 static_configs: [{{targets: ['{}']}}]\n",
        service.address
    );
    let config = scratch.file("prometheus.yml", &config);
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", scratch.0.join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _prometheus = Running(command.spawn().unwrap());
    wait_for("prometheus to listen", || TcpStream::connect(&address).is_ok());

    // The lines, added up by Prometheus, are what the kernel says of the process.
    let mut sums = (0.0, 0.0);
    wait_for("a scrape", || {
        let sum = number(&address, "sum(freestone_resident_bytes)");
        let resident = number(&address, "freestone_process_resident_bytes");
        sums = (sum.unwrap_or(0.0), resident.unwrap_or(0.0));
        sum.is_some() && resident.is_some()
    });
    assert!((sums.0 - sums.1).abs() <= sums.1 / 50.0, "{sums:?}");

    let before = number(&address, "freestone_live_bytes").unwrap();
    service.get("/leak");
    wait_for("the leak to show", || {
        number(&address, "freestone_live_bytes").is_some_and(|live| live > before + 10e6)
    });
    assert!(number(&address, "freestone_class_live_blocks{size=\"208\"}").unwrap() >= 50_000.0);
    for query in dashboard_queries() {
        assert!(number(&address, &query).is_some(), "nothing for {query}");
    }
}

/// Prometheus' own checker, where the package brings it.
fn check_text(service: &Service, scratch: &Scratch) {
    let text = scratch.file("metrics", &service.get("/metrics"));
    let Ok(output) =
        Command::new("promtool").args(["check", "metrics"]).stdin(fs::File::open(text).unwrap()).output()
    else {
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The queries of the dashboard in `docs/`, with a short time to look back.
fn dashboard_queries() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/grafana.json");
    let dashboard: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let queries: Vec<String> = targets
        .map(|target| target["expr"].as_str().unwrap().to_string())
        .map(|query| query.replace("$instance", ".*").replace("$__rate_interval", "2s"))
        .collect();
    assert!(queries.len() >= 6);
    queries
}

/// The first value of a query's answer.
fn number(address: &str, query: &str) -> Option<f64> {
    let query: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let answer: serde_json::Value =
        serde_json::from_str(&body(&get(address, &format!("/api/v1/query?query={query}")))).ok()?;
    answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
}

/// The JSON in a body that may come in chunks.
fn body(text: &str) -> String {
    let (from, to) = (text.find('{').unwrap_or(0), text.rfind('}').map_or(text.len(), |at| at + 1));
    text[from..to].to_string()
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

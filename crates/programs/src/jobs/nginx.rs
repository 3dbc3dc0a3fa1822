//! Nginx under wrk; then files of all sizes, compressed, proxied and in ranges, checked to the byte.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::text::Numbers;
use crate::evidence::digest;
use crate::fail;
use crate::job::{Job, Need, Outcome};
use crate::os;
use crate::place::Place;

/// The family's jobs.
pub const JOBS: &[Job] = &[Job {
    name: "nginx",
    about: "nginx under wrk: files, compression, proxying; then every body checked",
    needs: &[Need::command("nginx", "nginx-light"), Need::command("wrk", "wrk")],
    limit: 120,
    prepare: Some(make_files),
    run,
}];

const SIZES: [usize; 6] = [0, 1, 700, 9_000, 130_000, 2_000_000];

fn make_files(place: &mut Place) -> Outcome {
    let mut numbers = Numbers(53);
    for size in SIZES {
        let mut text = String::new();
        while text.len() < size {
            text.push_str(&numbers.line(12));
            text.push('\n');
        }
        place.write(&format!("{size}.txt"), &text[..size])?;
    }
    Ok(())
}

fn configuration(place: &Place, port: u16) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path temporary-{kind};\n"))
        .collect();
    // Workers keep the master's user, which owns the folder.
    let user = if os::is_root() { "user root;\n" } else { "" };
    format!(
        "{user}daemon off;\nworker_processes 2;\npid nginx.pid;\nerror_log stderr crit;\n\
         events {{ worker_connections 512; }}\nhttp {{\n  access_log off;\n{temporary}\
         \x20 gzip on;\n  gzip_types text/plain;\n  gzip_http_version 1.0;\n  gzip_proxied any;\n\
         \x20 server {{\n    listen 127.0.0.1:{port};\n    default_type text/plain;\n    root {};\n\
         \x20   location /proxy/ {{ proxy_pass http://127.0.0.1:{port}/; proxy_buffers 4 8k; }}\n  }}\n}}\n",
        place.inputs().display()
    )
}

fn run(place: &mut Place) -> Outcome {
    // The port is free again once the listener is dropped; nginx takes it a moment later.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    place.write("nginx.conf", configuration(place, port))?;
    let step =
        place.subject("nginx").arg("-p").arg(place.folder()).args(["-c", "nginx.conf", "-e", "stderr"]);
    let server = place.serve(step, || TcpStream::connect(("127.0.0.1", port)).is_ok())?;

    let seconds = place.scale().pick("1", "60");
    for path in ["700.txt", "130000.txt", "proxy/9000.txt"] {
        let url = format!("http://127.0.0.1:{port}/{path}");
        let step = place.client("wrk").args([
            "-t",
            "2",
            "-c",
            "24",
            "-d",
            seconds,
            "-H",
            "Accept-Encoding: gzip",
            &url,
        ]);
        let finished = place.run(step)?;
        let report = finished.stdout()?;
        if report.contains("Non-2xx") || report.contains("Socket errors") || !report.contains("Requests/sec")
        {
            fail!("{}", finished.report("told of errors"));
        }
    }
    for prefix in ["", "proxy/"] {
        for size in SIZES {
            let path = format!("/{prefix}{size}.txt");
            for header in ["", "Accept-Encoding: gzip\r\n", "Range: bytes=100-5000\r\n"] {
                place.note(&format!("{path} {}", header.trim()), get(port, &path, header)?);
            }
        }
    }
    place.note("missing", get(port, "/none", "")?);
    let finished = place.stop("nginx", server, libc::SIGQUIT)?;
    place.note_errors("nginx", &finished)
}

/// Status line and digest of the body of one answer.
pub(super) fn get(port: u16, path: &str, header: &str) -> Outcome<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    // Version 1.0: the body is not cut into chunks, and the connection ends with it.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n{header}\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let Some(split) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        fail!("{path}: no header in an answer of {} bytes", answer.len());
    };
    let head = String::from_utf8_lossy(&answer[..split]).into_owned();
    let status = head.lines().next().unwrap_or_default();
    Ok(format!("{status}: {}", digest(&answer[split + 4..])?))
}

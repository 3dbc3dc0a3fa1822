//! Apache and HAProxy: files of all sizes, compressed and passed on by threads, checked to the byte.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use super::nginx::get;
use super::text::Numbers;
use crate::job::{Job, Need, Outcome};
use crate::place::Place;

/// The family's jobs.
pub const JOBS: &[Job] = &[
    Job {
        name: "apache",
        about: "apache2 with threads: files, compressed on the way, before and after a graceful restart",
        needs: &[Need::extra("apache2", "apache2-bin")],
        limit: 120,
        prepare: Some(make_files),
        run: apache,
    },
    Job {
        name: "haproxy",
        about: "haproxy with two threads before a server of the job's own, compressing",
        needs: &[Need::extra("haproxy", "haproxy")],
        limit: 120,
        prepare: None,
        run: haproxy,
    },
];

const SIZES: [usize; 6] = [0, 1, 700, 9_000, 130_000, 1_000_000];
const HEADERS: [&str; 2] = ["", "Accept-Encoding: gzip\r\n"];
/// Clients at a time, each with all sizes and headers.
const CLIENTS: usize = 4;

fn text(size: usize) -> String {
    let mut numbers = Numbers(59);
    let mut text = String::new();
    while text.len() < size {
        text.push_str(&numbers.line(12));
        text.push('\n');
    }
    text.truncate(size);
    text
}

fn make_files(place: &mut Place) -> Outcome {
    SIZES.iter().try_for_each(|size| place.write(&format!("{size}.txt"), text(*size)).map(|_| ()))
}

/// A port that nobody listens at; the server takes it a moment later.
pub(super) fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Notes what some clients at once get, which must be the same for all of them.
fn note_answers(place: &mut Place, name: &str, port: u16) -> Outcome {
    let all = || -> Outcome<String> {
        let wanted = SIZES.iter().flat_map(|size| HEADERS.map(|header| (size, header)));
        let answers = wanted.map(|(size, header)| get(port, &format!("/{size}.txt"), header));
        Ok(answers.collect::<Outcome<Vec<_>>>()?.join("\n"))
    };
    let answers: Vec<Outcome<String>> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(all)).collect();
        clients.into_iter().filter_map(|client| client.join().ok()).collect()
    });
    for (number, answer) in answers.into_iter().enumerate() {
        place.note(&format!("{name}, client {number}"), answer?);
    }
    Ok(())
}

fn apache(place: &mut Place) -> Outcome {
    let port = free_port()?;
    let load = |name: &str| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n");
    let modules: String = ["mpm_event", "authz_core", "deflate", "filter"].map(load).concat();
    let configuration = format!(
        "ServerRoot {0}\nListen 127.0.0.1:{port}\nPidFile {0}/pid\nServerName localhost\n{modules}\
         DocumentRoot {1}\nErrorLog {0}/errors\nForceType text/plain\n\
         AddOutputFilterByType DEFLATE text/plain\n<Directory />\nRequire all granted\n</Directory>\n",
        place.folder().display(),
        place.inputs().display()
    );
    let file = place.write("apache.conf", configuration)?;
    let step = place.subject("apache2").args(["-D", "FOREGROUND", "-f"]).arg(&file);
    let server = place.serve(step, || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    note_answers(place, "at first", port)?;
    let step = place.subject("apache2").arg("-f").arg(&file).args(["-k", "graceful"]);
    place.run_and_note("restart", step)?;
    note_answers(place, "after the restart", port)?;
    let finished = place.stop("apache2", server, libc::SIGTERM)?;
    let errors = std::fs::read_to_string(place.path("errors"))?;
    let bad = errors.lines().filter(|line| line.contains("exit signal") || line.contains("freestone:"));
    place.note("errors", bad.collect::<Vec<_>>().join("\n"));
    place.note_errors("apache2", &finished)
}

fn haproxy(place: &mut Place) -> Outcome {
    let behind = TcpListener::bind("127.0.0.1:0")?;
    let (port, server_port) = (free_port()?, behind.local_addr()?.port());
    std::thread::spawn(move || {
        for stream in behind.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    let configuration = format!(
        "global\n nbthread 2\ndefaults\n mode http\n timeout connect 10s\n timeout client 30s\n timeout server 30s\n\
         frontend front\n bind 127.0.0.1:{port}\n default_backend back\n\
         backend back\n compression algo gzip\n compression type text/plain\n server one 127.0.0.1:{server_port}\n"
    );
    let file = place.write("haproxy.conf", configuration)?;
    let step = place.subject("haproxy").args(["-db", "-f"]).arg(file);
    let server = place.serve(step, || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    for round in ["first", "second", "third"] {
        note_answers(place, round, port)?;
    }
    // All connections are closed: a soft stop ends it at once.
    place.stop("haproxy", server, libc::SIGUSR1)?;
    Ok(())
}

/// Serves one request for a text by the size that its path names.
fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let digits: String =
        request.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    let body = text(digits.parse().unwrap_or(0));
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n";
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
}

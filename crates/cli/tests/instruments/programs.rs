//! The programs that are profiled: a service in Rust that brings the allocator along, a program in C++ and one in Python that are
//! preloaded. What is missing (a compiler, Python, the service among the allocator's examples) is skipped with a message.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::shared::library;
pub use crate::shared::{EXECUTABLE, Scratch};

/// Runs it; it must succeed.
pub fn done(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The command of this crate, for a program that is preloaded. What it makes is the same in each run.
pub fn command(words: &[&str]) -> Command {
    let mut command = Command::new(EXECUTABLE);
    command.args(words).env_remove("FREESTONE_CONF").env_remove("LD_PRELOAD").env("FREESTONE_LIB", library());
    command.env("PYTHONMALLOC", "malloc").env("PYTHONHASHSEED", "0").env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The program in C++ with debugging information, and the words to start it with `many` documents.
pub fn cpp(scratch: &Scratch, many: u32) -> Option<Vec<String>> {
    let program = scratch.path("index");
    let built = Command::new("c++").args(["-g", "-O1", "-o", &program]).arg(fixture("index.cc")).status();
    if !built.is_ok_and(|status| status.success()) {
        freestone_testkit::skipped(format_args!("there is no C++ compiler"));
        return None;
    }
    Some(vec![program, many.to_string()])
}

/// The words to start the program in Python on `many` words.
pub fn python(many: u32) -> Option<Vec<String>> {
    // What stands first in a user's path may be a script that starts it.
    let mut names = ["/usr/bin/python3", "python3"].into_iter();
    let Some(python) = names.find(|name| Command::new(name).arg("-V").output().is_ok()) else {
        freestone_testkit::skipped(format_args!("there is no Python"));
        return None;
    };
    let script = fixture("words.py").to_str().unwrap().to_string();
    Some(vec![python.into(), script, many.to_string()])
}

/// The allocator's example of a service, which brings it along; dropping it ends it.
pub struct Service {
    pub child: Child,
    address: String,
}

impl Service {
    /// `None`, with a message, where it is not built.
    pub fn start(conf: &str) -> Option<Service> {
        let program = Path::new(EXECUTABLE).parent()?.join("examples/service");
        if !program.is_file() {
            freestone_testkit::skipped(format_args!(
                "the example is not built (cargo build -p freestone --example service)"
            ));
            return None;
        }
        let mut command = Command::new(program);
        command.arg("127.0.0.1:0").env("FREESTONE_CONF", conf).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect("an address").to_string();
        Some(Service { child, address })
    }

    fn get(&self, path: &str) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200"), "{path}: {text}");
    }

    /// Serves some requests so many times; then the profile is fetched.
    pub fn profiled(self, profile: &str, rounds: u32) {
        for _ in 0..rounds {
            ["/work", "/leak", "/work", "/fragment", "/work"].iter().for_each(|path| self.get(path));
        }
        done(&mut command(&["profile", &self.child.id().to_string(), "-o", profile]));
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

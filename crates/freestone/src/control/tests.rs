//! The control as its clients see it, served by the background thread. The states are those of the process, so all is one test.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use freestone_base::live::{self, word};

use super::*;

fn directory() -> PathBuf {
    PathBuf::from(format!("/tmp/freestone-{}", linux::shared::effective_user()))
}

fn file(kind: &str) -> PathBuf {
    // As `Files::prepare` has it.
    let name = format!("{}.{kind}", std::process::id());
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(|path| PathBuf::from(path).join("freestone"));
    runtime.into_iter().chain([directory()]).map(|path| path.join(&name)).find(|path| path.exists()).unwrap()
}

fn asked(request: &[u8]) -> String {
    let mut stream = UnixStream::connect(file("socket")).unwrap();
    stream.write_all(request).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

#[test]
fn from_asking_to_closing() {
    if let Err(reason) = open() {
        return freestone_testkit::skipped(format_args!("{reason}"));
    }
    open().expect("open already");

    let page = std::fs::read(file("page")).unwrap();
    let word = |at: usize| u64::from_ne_bytes(page[8 * at..8 * at + 8].try_into().unwrap());
    assert_eq!(page.len(), live::WORDS * 8);
    assert_eq!((word(word::MAGIC), word(word::LAYOUT)), (live::MAGIC, live::LAYOUT));
    assert_eq!(word(word::PROCESS), u64::from(std::process::id()));

    assert!(asked(b"ping\n").starts_with("ok "));
    assert!(asked(b"version").contains(env!("CARGO_PKG_VERSION")), "the end of the stream ends a line, too");
    let long = asked(&[b'x'; 5_000]);
    assert!(long.contains("longer than 256 bytes"), "{long}");
    hostile_clients_get_nowhere();

    nothing_of_it_is_inherited();

    close();
    while state() != CLOSED {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(std::fs::read_dir(directory()).map_or(true, |mut entries| {
        let name = format!("{}.", std::process::id());
        !entries.any(|entry| entry.unwrap().file_name().to_str().unwrap().starts_with(&name))
    }));
}

/// Clients that say nothing, take nothing, or leave; others are served all the while.
fn hostile_clients_get_nowhere() {
    let silent: Vec<_> = (0..3).map(|_| UnixStream::connect(file("socket")).unwrap()).collect();
    assert!(asked(b"ping\n").starts_with("ok "), "one place is left");
    let mut gone = UnixStream::connect(file("socket")).unwrap();
    gone.write_all(b"stats\n").unwrap();
    drop(gone);
    for piece in [&b"pi"[..], b"n", b"g\nping\n"] {
        // A line in pieces, and more than a line.
        let mut slow = &silent[0];
        slow.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut reply = String::new();
    (&silent[0]).read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("ok ") && reply.matches("process ").count() == 1, "{reply}");
}

/// What a child of fork would find, as far as it can be seen without one.
fn nothing_of_it_is_inherited() {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let page = maps.split_once(&format!("/{}.page", std::process::id())).unwrap().1;
    let flags = page.lines().find(|line| line.starts_with("VmFlags:")).unwrap();
    assert!(flags.split_whitespace().any(|flag| flag == "dc"), "not copied on fork: {flags}");
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let sockets = descriptors.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    assert!(!sockets.into_iter().any(|link| link.to_string_lossy().contains("eventpoll")));
}

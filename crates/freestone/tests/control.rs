//! A Rust program on Freestone opens its control, forks, and is spoken to by clients of all kinds.
//!
//! # Safety
//!
//! The child of the fork uses nothing that another thread may have left locked: the tests' harness waits.
#![allow(unsafe_code)]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

#[global_allocator]
static HEAP: freestone::Freestone = freestone::Freestone;

/// The socket of a process: beside the page that it maps.
fn socket(pid: u32) -> Option<PathBuf> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let line = maps.lines().find(|line| line.ends_with(&format!("/{pid}.page")))?;
    Some(PathBuf::from(&line[line.find('/')?..]).with_extension("socket"))
}

fn asked(pid: u32, request: &[u8]) -> std::io::Result<String> {
    let path = socket(pid).ok_or(std::io::ErrorKind::NotFound)?;
    let mut stream = UnixStream::connect(path)?;
    stream.write_all(request)?;
    stream.shutdown(Shutdown::Write)?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}

#[test]
fn a_program_opens_its_control_and_its_child_has_none_of_it() {
    if let Err(reason) = freestone::control::open() {
        return freestone_testkit::skipped(format_args!("{reason}"));
    }
    let own = std::process::id();
    assert!(asked(own, b"ping").unwrap().contains(&format!("process {own}")));
    let held = vec![1u8; 40 << 20];
    let stats = asked(own, b"stats\n").unwrap();
    let live = stats.split_once("\"live\":").unwrap().1.split(',').next().unwrap();
    assert!(live.parse::<usize>().unwrap() > 40 << 20, "{live}");
    drop(held);
    assert!(asked(own, b"release\n").unwrap().contains("gave back "));
    assert!(asked(own, b"ledger\n").unwrap().contains("\"ledger\":{\"resident\":"));
    assert!(asked(own, b"prometheus\n").unwrap().contains("# TYPE freestone_"));

    // SAFETY: see above.
    match unsafe { libc::fork() } {
        0 => {
            let outcome = std::panic::catch_unwind(in_child);
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(if outcome.is_ok() { 0 } else { 1 }) };
        }
        child => {
            let mut status = 0;
            // SAFETY: a place to be filled.
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            assert_eq!(status, 0, "the child failed");
        }
    }
    without_descriptors(own);
    clients_of_all_kinds(own);
    assert!(asked(own, b"ping").unwrap().starts_with("ok "));

    let path = socket(own).unwrap();
    freestone::control::close();
    assert!(!path.exists() && !path.with_extension("page").exists());
    freestone::control::open().expect("a second time");
    assert!(asked(own, b"ping").unwrap().starts_with("ok "));
    freestone::control::close();
}

/// Forked without having asked by option: nothing is open, and nothing of the parent's goes when the child closes.
fn in_child() {
    let own = std::process::id();
    assert_eq!(socket(own), None);
    freestone::control::close();
    let parent = std::os::unix::process::parent_id();
    assert!(asked(parent, b"ping").unwrap().contains(&format!("process {parent}")));
    freestone::control::open().unwrap();
    assert!(asked(own, b"ping").unwrap().contains(&format!("process {own}")));
    freestone::control::close();
}

/// While the process may have no descriptor for a connection, nobody spins; when it may, whoever waits is answered.
fn without_descriptors(own: u32) {
    // Made before, for there will be none to be had.
    let client = Client::new(&socket(own).unwrap());
    let usual = set_descriptors(0);
    client.connect();
    let before = processor_ms();
    std::thread::sleep(std::time::Duration::from_millis(600));
    let used = processor_ms() - before;
    set_descriptors(usual);
    assert!(used < 250, "{used} ms of the processor while nothing could be accepted");
    let mut stream = client.into_stream();
    stream.write_all(b"ping\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("ok "), "{reply}");
}

/// A socket that is not connected yet, and where it is to be.
struct Client(libc::c_int, libc::sockaddr_un);

impl Client {
    fn new(path: &std::path::Path) -> Client {
        // SAFETY: numbers only.
        let number = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
        assert!(number >= 0);
        let mut address = libc::sockaddr_un { sun_family: libc::AF_UNIX as _, sun_path: [0; 108] };
        let bytes = path.as_os_str().as_encoded_bytes();
        assert!(bytes.len() < address.sun_path.len());
        address.sun_path.iter_mut().zip(bytes).for_each(|(to, &from)| *to = from as _);
        Client(number, address)
    }

    fn connect(&self) {
        let len = size_of::<libc::sockaddr_un>() as libc::socklen_t;
        // SAFETY: an address of the length said.
        assert_eq!(unsafe { libc::connect(self.0, (&raw const self.1).cast(), len) }, 0);
    }

    fn into_stream(self) -> UnixStream {
        // SAFETY: the socket is ours, and nobody else closes it.
        unsafe { std::os::fd::FromRawFd::from_raw_fd(self.0) }
    }
}

/// Has the process open no descriptor from this number on; returns what it was before.
fn set_descriptors(most: libc::rlim_t) -> libc::rlim_t {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a place to be filled.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }, 0);
    let before = std::mem::replace(&mut limit.rlim_cur, most);
    // SAFETY: a limit to be read.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    before
}

/// What the process has used of the processors.
fn processor_ms() -> i64 {
    let mut used = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a place to be filled.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut used) }, 0);
    used.tv_sec * 1000 + used.tv_nsec / 1_000_000
}

/// Bytes that mean nothing, clients that leave or are silent, many at a time.
fn clients_of_all_kinds(own: u32) {
    let path = socket(own).unwrap();
    std::thread::scope(|scope| {
        for seed in 1..=4u64 {
            let path = &path;
            scope.spawn(move || {
                let mut state = seed;
                let mut random = move || {
                    state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                    (state >> 33) as usize
                };
                for _ in 0..200 {
                    let Ok(mut stream) = UnixStream::connect(path) else { continue };
                    let bytes: Vec<u8> = (0..random() % 600).map(|_| random() as u8).collect();
                    let _ = stream.write_all(&bytes);
                    match random() % 4 {
                        0 => drop(stream),
                        1 => drop(stream.shutdown(Shutdown::Read)),
                        2 => drop(stream.shutdown(Shutdown::Write)),
                        _ => {
                            let _ = stream.write_all(b"\nledger\n");
                            let _ = stream.read(&mut [0; 16]);
                        }
                    }
                }
            });
        }
    });
}

//! Local sockets that never block, for a thread that libc does not know.
//!
//! Programs close descriptors that are not theirs: a daemon closes all from 3 on. Would ours lie among them, their numbers would
//! soon belong to files of the program, and we would read from those. So the thread that serves takes a table of descriptors of
//! its own ([`own_descriptors`]); nothing in it is seen, inherited or closed by the program.
//!
//! # Safety
//!
//! Each call passes places and buffers of its own frame, or borrowed slices, with their true length.
#![allow(unsafe_code)]

use core::ffi::CStr;
use core::sync::atomic::{AtomicI32, Ordering};

use libc::c_int;

use super::call::syscall;
use super::errno::{Errno, PreservedErrno};
use super::process::resource_limit;
use super::read_file::beginning;
use super::shared::{Descriptor, outcome};

/// The thread that took a table of descriptors of its own last.
static APART: AtomicI32 = AtomicI32::new(0);

/// Writes to the standard error of the program, whichever thread calls. Nothing where that is a file, and files may not be written to.
pub fn write_message(bytes: &[u8]) {
    let apart = APART.load(Ordering::Relaxed);
    // A thread with descriptors of its own has nothing to say once the program asked for a filter.
    if apart != 0 && !super::control::filter_was_asked_for() && apart == super::thread_id() {
        write_to_standard_error(bytes);
    } else if super::process::may_write_to(2) {
        super::write_all(2, bytes);
    }
}

/// The thread that had descriptors of its own is gone; its number may become another's.
pub fn forget_own_descriptors() {
    APART.store(0, Ordering::Relaxed);
}

/// Gives the calling thread a table of descriptors of its own, once, which keeps none of the program's open: input, output and standard
/// error lead nowhere ([`write_message`] finds the program's). False where that is forbidden.
pub fn own_descriptors() -> bool {
    let _preserved = PreservedErrno::new();
    if APART.load(Ordering::Relaxed) == super::thread_id() {
        return true;
    }
    const UNSHARE: u32 = 1 << 1;
    // SAFETY: the table of this thread alone changes; what the program has open stays open.
    let closed = unsafe { syscall!(libc::SYS_close_range, 0u32, u32::MAX, UNSHARE) } == 0;
    if !closed && !close_all_of_a_copy() {
        return false;
    }
    // The standard numbers are taken, so that no socket gets one and receives what is written there.
    for _ in 0..3 {
        let path = c"/dev/null".as_ptr();
        // SAFETY: a terminated string.
        unsafe { syscall!(libc::SYS_openat, libc::AT_FDCWD, path, libc::O_RDWR | libc::O_CLOEXEC) };
    }
    APART.store(super::thread_id(), Ordering::Relaxed);
    true
}

/// The same where the kernel (before 5.9) has no call for it: a copy of the table, whose descriptors are closed one by one. Until then the files stay
/// open though the program closes them. False, and nothing done, where that is forbidden.
fn close_all_of_a_copy() -> bool {
    // SAFETY: numbers only; the table of this thread alone changes.
    if unsafe { syscall!(libc::SYS_unshare, libc::CLONE_FILES) } != 0 {
        return false;
    }
    for number in 0..table_size() {
        // SAFETY: a descriptor of this thread's own table.
        unsafe { syscall!(libc::SYS_close, number) };
    }
    true
}

/// How many descriptors this thread's table has room for; as many as it may have, and no fewer than are usual, where the kernel does not tell.
fn table_size() -> u64 {
    const USUAL: u64 = 1 << 16;
    // What the kernel allows where nobody raised it.
    const MOST: u64 = 1 << 20;
    let mut buffer = [0; 4096];
    beginning(c"/proc/thread-self/status", &mut buffer)
        .and_then(|text| text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"FDSize:")))
        .and_then(|number| core::str::from_utf8(number.trim_ascii()).ok()?.parse().ok())
        .unwrap_or_else(|| resource_limit(libc::RLIMIT_NOFILE).unwrap_or(USUAL).clamp(USUAL, MOST))
}

/// The address of a socket in the file system.
struct Address(libc::sockaddr_un);

impl Address {
    fn new(path: &CStr) -> Result<Address, Errno> {
        let mut address =
            libc::sockaddr_un { sun_family: libc::AF_UNIX as libc::sa_family_t, sun_path: [0; 108] };
        let bytes = path.to_bytes_with_nul();
        if bytes.len() > address.sun_path.len() {
            return Err(Errno(libc::ENAMETOOLONG));
        }
        for (to, &from) in address.sun_path.iter_mut().zip(bytes) {
            *to = from as core::ffi::c_char;
        }
        Ok(Address(address))
    }

    const LEN: usize = size_of::<libc::sockaddr_un>();
}

fn socket() -> Result<Descriptor, Errno> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: numbers only.
    Descriptor::from(unsafe { syscall!(libc::SYS_socket, libc::AF_UNIX, kind, 0) })
}

/// Whether somebody accepts connections at this path.
pub fn is_served(path: &CStr) -> bool {
    let _preserved = PreservedErrno::new();
    let (Ok(socket), Ok(address)) = (socket(), Address::new(path)) else { return false };
    // SAFETY: an address of the length said.
    let connected =
        outcome(unsafe { syscall!(libc::SYS_connect, socket.0, &raw const address.0, Address::LEN) });
    // A queue that is full has somebody behind it, too.
    matches!(connected, Ok(_) | Err(Errno(libc::EAGAIN)))
}

/// A socket that waits for connections.
pub struct Listener(Descriptor);

impl Listener {
    /// Binds a socket to the path, where nothing must be, for this user alone.
    pub fn bind(path: &CStr) -> Result<Listener, Errno> {
        let _preserved = PreservedErrno::new();
        let address = Address::new(path)?;
        let socket = socket()?;
        // SAFETY: an address of the length said.
        outcome(unsafe { syscall!(libc::SYS_bind, socket.0, &raw const address.0, Address::LEN) })?;
        // The directory keeps others out; the mode is for a umask that would keep the owner out.
        // SAFETY: a terminated string.
        unsafe { syscall!(libc::SYS_fchmodat, libc::AT_FDCWD, path.as_ptr(), 0o600) };
        // SAFETY: numbers only.
        match outcome(unsafe { syscall!(libc::SYS_listen, socket.0, 8) }) {
            Ok(_) => Ok(Listener(socket)),
            Err(error) => {
                super::shared::remove_file(path);
                Err(error)
            }
        }
    }

    /// The next connection, if one waits; the error where it does wait, but there is no descriptor or memory for it.
    pub fn accept(&self) -> Result<Option<Stream>, Errno> {
        let _preserved = PreservedErrno::new();
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no address is asked for.
        let accepted = unsafe { syscall!(libc::SYS_accept4, self.0.0, 0usize, 0usize, flags) };
        match Descriptor::from(accepted) {
            Ok(connection) => Ok(Some(Stream(connection))),
            Err(Errno(error @ (libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))) => {
                Err(Errno(error))
            }
            Err(_) => Ok(None),
        }
    }
}

/// How a transfer went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transfer {
    /// So many bytes, at least one.
    Done(usize),
    /// Nothing can be moved now.
    NotNow,
    /// The other side is gone, or will send no more.
    Ended,
}

/// A connection.
pub struct Stream(Descriptor);

impl Stream {
    /// Who is at the other end; `None` when the kernel does not say.
    pub fn peer_user(&self) -> Option<u32> {
        let _preserved = PreservedErrno::new();
        let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
        let mut len = size_of::<libc::ucred>() as libc::socklen_t;
        let option = libc::SO_PEERCRED;
        // SAFETY: a place of the type that the call fills, and its length.
        let got = outcome(unsafe {
            syscall!(libc::SYS_getsockopt, self.0.0, libc::SOL_SOCKET, option, &raw mut peer, &raw mut len,)
        });
        got.is_ok().then_some(peer.uid)
    }

    /// Takes what has arrived.
    pub fn receive(&self, into: &mut [u8]) -> Transfer {
        let _preserved = PreservedErrno::new();
        // SAFETY: the buffer is writable for its length.
        transfer(unsafe { syscall!(libc::SYS_read, self.0.0, into.as_mut_ptr(), into.len()) })
    }

    /// Drops what has arrived, up to a limit: closing a connection with bytes left in it takes the reply from the other side.
    pub fn forget_arrived(&self) {
        let mut dropped = [0; 512];
        for _ in 0..256 {
            if !matches!(self.receive(&mut dropped), Transfer::Done(_)) {
                return;
            }
        }
    }

    /// Sends as much as the other side has room for; no signal when it is gone.
    pub fn send(&self, bytes: &[u8]) -> Transfer {
        let _preserved = PreservedErrno::new();
        let (flags, none) = (libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT, 0usize);
        // SAFETY: the slice is readable for its length; no address is given.
        transfer(unsafe {
            syscall!(libc::SYS_sendto, self.0.0, bytes.as_ptr(), bytes.len(), flags, none, none)
        })
    }
}

fn transfer(returned: libc::c_long) -> Transfer {
    match outcome(returned) {
        Ok(0) => Transfer::Ended,
        Ok(bytes) => Transfer::Done(bytes),
        Err(Errno(libc::EAGAIN | libc::EINTR)) => Transfer::NotNow,
        Err(_) => Transfer::Ended,
    }
}

/// What to wait for at a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interest {
    /// Nothing at present.
    Nothing,
    /// Something arrives.
    Arrival,
    /// There is room to send.
    Room,
}

/// One descriptor that is ready for reading whenever one of several sockets is ready (epoll).
pub struct Readiness(Descriptor);

impl Readiness {
    /// Watches nothing yet.
    pub fn new() -> Result<Readiness, Errno> {
        let _preserved = PreservedErrno::new();
        // SAFETY: numbers only.
        Descriptor::from(unsafe { syscall!(libc::SYS_epoll_create1, libc::EPOLL_CLOEXEC) }).map(Readiness)
    }

    /// The number to wait for, in the table of the thread that made it.
    pub fn number(&self) -> c_int {
        self.0.0
    }

    /// Waits until something is ready, for at most `timeout_ns` nanoseconds. May return early.
    pub fn wait(number: c_int, timeout_ns: u64) {
        let _preserved = PreservedErrno::new();
        // The kernel writes what is left of it there.
        let mut timeout = libc::timespec {
            tv_sec: (timeout_ns / 1_000_000_000) as _,
            tv_nsec: (timeout_ns % 1_000_000_000) as libc::c_long,
        };
        let mut waited = libc::pollfd { fd: number, events: libc::POLLIN, revents: 0 };
        // SAFETY: one place of the type that the call fills, and a time; no set of signals is given.
        let polled =
            unsafe { syscall!(libc::SYS_ppoll, &raw mut waited, 1usize, &raw mut timeout, 0usize, 0usize) };
        if outcome(polled) == Err(Errno(libc::EINVAL)) {
            // A process that may have no descriptors at all may not wait for one either; whoever asks then has to wait.
            // SAFETY: a time.
            unsafe { syscall!(libc::SYS_nanosleep, &raw const timeout, 0usize) };
        }
    }

    /// Watches a listener. A socket is watched no more once it is closed.
    pub fn watch_listener(&self, listener: &Listener, interest: Interest) -> Result<(), Errno> {
        self.watch(listener.0.0, interest)
    }

    /// Watches a connection.
    pub fn watch_stream(&self, stream: &Stream, interest: Interest) -> Result<(), Errno> {
        self.watch(stream.0.0, interest)
    }

    fn watch(&self, file: c_int, interest: Interest) -> Result<(), Errno> {
        let _preserved = PreservedErrno::new();
        let events = match interest {
            Interest::Nothing => 0,
            Interest::Arrival => libc::EPOLLIN as u32,
            Interest::Room => libc::EPOLLOUT as u32,
        };
        let event = libc::epoll_event { events, u64: 0 };
        let control = |operation: c_int| {
            // SAFETY: an event of the type that the call reads.
            outcome(unsafe { syscall!(libc::SYS_epoll_ctl, self.0.0, operation, file, &raw const event) })
        };
        match control(libc::EPOLL_CTL_MOD) {
            Err(Errno(libc::ENOENT)) => control(libc::EPOLL_CTL_ADD).map(|_| ()),
            changed => changed.map(|_| ()),
        }
    }
}

/// Writes to the standard error of the program, also from a thread with descriptors of its own.
fn write_to_standard_error(bytes: &[u8]) {
    let _preserved = PreservedErrno::new();
    if let Ok(file) = program_descriptor(2).or_else(|_| standard_error_by_path()) {
        super::write_all(file.0, bytes);
    }
}

/// A duplicate of what the program's first thread has under this number. Needs Linux 5.6.
fn program_descriptor(number: c_int) -> Result<Descriptor, Errno> {
    if super::control::may_kill_a_service() {
        return Err(Errno(libc::EPERM));
    }
    // SAFETY: numbers only.
    let process = Descriptor::from(unsafe { syscall!(libc::SYS_pidfd_open, super::process_id(), 0) })?;
    // SAFETY: numbers only.
    Descriptor::from(unsafe { syscall!(libc::SYS_pidfd_getfd, process.0, number, 0) })
}

/// The file behind it, opened anew. `/proc/self` is the first thread, whose table is the program's.
fn standard_error_by_path() -> Result<Descriptor, Errno> {
    let path = c"/proc/self/fd/2".as_ptr();
    let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
    // SAFETY: a terminated string.
    Descriptor::from(unsafe { syscall!(libc::SYS_openat, libc::AT_FDCWD, path, flags) })
}

#[cfg(test)]
mod tests {
    use freestone_testkit::soon;

    use std::ffi::CString;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_connection_carries_bytes_and_names_its_user() {
        let path = std::env::temp_dir().join(format!("freestone-socket-{}", std::process::id()));
        let name = CString::new(path.to_str().unwrap()).unwrap();
        assert!(!is_served(&name));
        let listener = Listener::bind(&name).unwrap();
        assert_eq!(Listener::bind(&name).err(), Some(Errno(libc::EADDRINUSE)));
        assert!(listener.accept().unwrap().is_none());
        let ready = Readiness::new().unwrap();
        ready.watch_listener(&listener, Interest::Arrival).unwrap();
        ready.watch_listener(&listener, Interest::Nothing).unwrap();
        let mut client = UnixStream::connect(&path).unwrap();
        let stream = listener.accept().unwrap().unwrap();
        assert_eq!(stream.peer_user(), Some(crate::linux::shared::effective_user()));
        let mut buffer = [0; 8];
        assert_eq!(stream.receive(&mut buffer), Transfer::NotNow);
        client.write_all(b"hello").unwrap();
        assert_eq!(stream.receive(&mut buffer), Transfer::Done(5));
        assert_eq!(stream.send(b"you"), Transfer::Done(3));
        assert_eq!(client.read(&mut buffer).unwrap(), 3);
        drop(client);
        // The test that gives a thread descriptors of its own may have taken copies of these for a moment, here and below.
        assert!(soon(|| stream.receive(&mut [0; 8]) == Transfer::Ended));
        assert_eq!(stream.send(b"gone"), Transfer::Ended);
        assert!(is_served(&name));
        drop(listener);
        assert!(soon(|| !is_served(&name)), "the file alone serves nobody");
        std::fs::remove_file(path).unwrap();
        let long = CString::new(vec![b'x'; 108]).unwrap();
        assert_eq!(Listener::bind(&long).err(), Some(Errno(libc::ENAMETOOLONG)));
    }

    #[test]
    fn a_copy_of_the_table_is_closed_and_the_programs_is_not() {
        std::thread::spawn(|| {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            let closed = std::thread::spawn(move || {
                let closed = close_all_of_a_copy();
                // That of the list itself is open, no other.
                let left = std::fs::read_dir("/proc/thread-self/fd").unwrap().count() > 1;
                std::mem::forget(theirs);
                closed.then_some(left)
            });
            let Some(left) = closed.join().unwrap() else {
                return freestone_testkit::skipped(format_args!("unshare is forbidden here"));
            };
            assert!(!left, "a descriptor is open");
            ours.write_all(b"x").unwrap();
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_thread_may_have_descriptors_of_its_own() {
        std::thread::spawn(|| {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            let served = std::thread::spawn(move || {
                let supported = own_descriptors();
                // The number means nothing in this table now, and closing it does not close the program's.
                std::mem::forget(theirs);
                supported
            });
            if !served.join().unwrap() {
                return freestone_testkit::skipped(format_args!(
                    "this kernel cannot give a thread descriptors of its own"
                ));
            }
            ours.write_all(b"x").unwrap();
            std::fs::metadata("/proc/self/fd/2").unwrap();
            let found = std::thread::spawn(|| own_descriptors() && program_descriptor(2).is_ok());
            assert!(found.join().unwrap(), "the program's standard error is found");
        })
        .join()
        .unwrap();
    }
}

//! Refusing chosen system calls of a program and of all that it starts, by a filter that asks us about each one.
//!
//! # Safety
//!
//! - Between fork and exec the child only makes system calls, on integers and on records that the closure owns.
//! - The kernel's records are passed with their true size and live during each call.
#![allow(unsafe_code)]

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread::JoinHandle;

/// A system call, or those of its calls whose argument has certain bits.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// How tables call it.
    pub name: &'static str,
    /// The kernel's number.
    pub number: libc::c_long,
    /// An argument's place, the bits looked at, and what they must be.
    pub argument: Option<(usize, u32, u32)>,
    /// What it is answered with.
    pub error: i32,
}

/// Which of the calls are refused, counted from 1 in the order in which they come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// From this one on.
    From(u64),
    /// This one alone.
    Only(u64),
    /// This one and every multiple of it.
    Every(u64),
}

impl When {
    fn refuses(self, count: u64) -> bool {
        match self {
            When::From(first) => count >= first,
            When::Only(one) => count == one,
            When::Every(step) => count.is_multiple_of(step),
        }
    }
}

/// What the supervisor has seen: how many calls came, and how many were refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// Calls that came.
    pub calls: u64,
    /// Calls that were refused.
    pub refused: u64,
}

/// Has the calls of `command` refused from its exec on; the thread ends when the last process of it has.
///
/// # Errors
/// When no pipe can be had.
pub fn refuse(command: &mut Command, call: Call, when: When) -> io::Result<JoinHandle<io::Result<Seen>>> {
    let (from_child, to_parent) = io::pipe()?;
    let (from_parent, to_child) = io::pipe()?;
    let filter = filter(call);
    // SAFETY: the closure makes system calls only; what it owns was made before.
    unsafe { command.pre_exec(move || install(&filter, &to_parent, &from_parent)) };
    Ok(std::thread::spawn(move || supervise(from_child, to_child, call.error, when)))
}

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
/// Where the arguments begin in the kernel's record of a call.
const ARGUMENTS: usize = 16;

fn filter(call: Call) -> [libc::sock_filter; 7] {
    let step = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    let (place, mask, value) = call.argument.unwrap_or((0, 0, 0));
    [
        step(LOAD, 0, 0, 0),
        step(EQUAL, call.number as u32, 0, 4),
        step(LOAD, (ARGUMENTS + 8 * place) as u32, 0, 0),
        step(AND, mask, 0, 0),
        step(EQUAL, value, 0, 1),
        step(RETURN, libc::SECCOMP_RET_USER_NOTIF, 0, 0),
        step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
    ]
}

/// In the child: installs the filter, and waits until the parent has the descriptor that it is asked through.
fn install(
    filter: &[libc::sock_filter],
    mut to_parent: &PipeWriter,
    mut from_parent: &PipeReader,
) -> io::Result<()> {
    const NEW_LISTENER: libc::c_ulong = 1 << 3;
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: numbers only.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the program lives during the call.
    let listener = unsafe { libc::syscall(libc::SYS_seccomp, mode, NEW_LISTENER, &raw const program) };
    if listener < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut message = [0; 8];
    message[..4].copy_from_slice(&std::process::id().to_ne_bytes());
    message[4..].copy_from_slice(&(listener as u32).to_ne_bytes());
    to_parent.write_all(&message)?;
    from_parent.read_exact(&mut [0])
}

fn supervise(
    mut from_child: PipeReader,
    mut to_child: PipeWriter,
    error: i32,
    when: When,
) -> io::Result<Seen> {
    let mut message = [0u8; 8];
    from_child.read_exact(&mut message)?;
    let number =
        |at: usize| u32::from_ne_bytes([message[at], message[at + 1], message[at + 2], message[at + 3]]);
    let listener = fetch(number(0), number(4) as RawFd)?;
    to_child.write_all(&[0])?;
    drop(to_child);
    let mut seen = Seen::default();
    while let Some(id) = next(&listener)? {
        seen.calls += 1;
        let refuses = when.refuses(seen.calls);
        seen.refused += u64::from(refuses);
        answer(&listener, id, if refuses { error } else { 0 });
    }
    Ok(seen)
}

fn owned(returned: libc::c_long) -> io::Result<OwnedFd> {
    if returned < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that was just made and is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(returned as RawFd) })
}

/// The child's descriptor as one of ours.
fn fetch(pid: u32, descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: numbers only.
    let process = owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: numbers only.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), descriptor, 0) })
}

/// `SECCOMP_IOCTL_NOTIF_RECV` and `SECCOMP_IOCTL_NOTIF_SEND`.
const RECEIVE: libc::c_ulong = 0xc050_2100;
const SEND: libc::c_ulong = 0xc018_2101;

/// The number of the next call that waits for an answer; none when no process is left.
fn next(listener: &OwnedFd) -> io::Result<Option<u64>> {
    loop {
        let mut poll = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one record, alive during the call.
        if unsafe { libc::poll(&mut poll, 1, -1) } < 0 {
            continue;
        }
        if poll.revents & libc::POLLIN == 0 {
            return Ok(None);
        }
        // SAFETY: zeros are a record, as the kernel wants it.
        let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        const { assert!(size_of::<libc::seccomp_notif>() == 80 && size_of::<libc::seccomp_notif_resp>() == 24) };
        // SAFETY: the record that the call fills.
        if unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE, &raw mut call) } == 0 {
            return Ok(Some(call.id));
        }
        let error = io::Error::last_os_error();
        // The caller was killed while it waited, or we were interrupted.
        if !matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) {
            return Err(error);
        }
    }
}

/// Answers a call: with an error, or, with 0, by letting it through.
fn answer(listener: &OwnedFd, id: u64, error: i32) {
    const CONTINUE: u32 = 1;
    let flags = if error == 0 { CONTINUE } else { 0 };
    let mut answer = libc::seccomp_notif_resp { id, val: 0, error: -error, flags };
    // SAFETY: the record that the call reads. It fails when the caller was killed meanwhile: then nobody waits.
    unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw mut answer) };
}

//! The few system calls that the standard library does not offer: waiting for a child with a
//! deadline and with its resource usage, and signals to processes and groups.
//!
//! # Safety
//!
//! Every call here takes plain integers or a pointer to a local variable that outlives the call.
//! The closure that runs between fork and exec only makes system calls.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// How a child ended, and what it and its own waited-for children used.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Exit code or signal.
    pub status: ExitStatus,
    /// The largest resident set of any process in the child's tree, in KiB.
    pub peak_kib: u64,
}

/// Puts the child into a process group of its own and lets the kernel kill it when the thread that
/// started it ends, so that an interrupted run leaves no server behind. It ignores no signal that a shell has its background ignore.
pub fn contain(command: &mut Command) {
    command.process_group(0);
    // SAFETY: the closure makes system calls only and touches no memory of the parent.
    unsafe { command.pre_exec(begin) };
}

fn begin() -> io::Result<()> {
    for signal in [libc::SIGINT, libc::SIGQUIT] {
        // SAFETY: no handler is set.
        if unsafe { libc::signal(signal, libc::SIG_DFL) } == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: plain integers.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Waits for the child `pid` until `deadline`; `None` when it still runs then.
///
/// Sleeps on a pid file descriptor rather than polling, so that wall times are exact.
pub fn wait_until(pid: u32, deadline: Instant) -> io::Result<Option<Usage>> {
    // SAFETY: plain integers.
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened and belongs to nobody else.
    let process = unsafe { OwnedFd::from_raw_fd(raw as i32) };
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let millis = left.as_millis().min(60_000) as i32;
        let mut poll = libc::pollfd { fd: process.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one local record, alive during the call.
        let ready = unsafe { libc::poll(&mut poll, 1, millis) };
        if ready > 0 {
            return reap(pid).map(Some);
        }
        if ready == 0 && left < Duration::from_millis(1) {
            return Ok(None);
        }
        if ready < 0 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return Err(io::Error::last_os_error());
        }
    }
}

/// Waits for the child `pid`, however long it takes.
pub fn reap(pid: u32) -> io::Result<Usage> {
    let mut status = 0;
    // SAFETY: a record of integers, for which zeros are a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to local variables, alive during the call.
        if unsafe { libc::wait4(pid as i32, &mut status, 0, &mut usage) } >= 0 {
            return Ok(Usage {
                status: ExitStatus::from_raw(status),
                peak_kib: usage.ru_maxrss.max(0) as u64,
            });
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Sends `signal` to the process `pid`. A process that is gone is no error.
pub fn signal(pid: u32, signal: i32) {
    // SAFETY: plain integers.
    unsafe { libc::kill(pid as i32, signal) };
}

/// Kills every process of the group that `leader` leads.
pub fn kill_group(leader: u32) {
    // SAFETY: plain integers.
    unsafe { libc::kill(-(leader as i32), libc::SIGKILL) };
}

/// Whether this process runs as root, and so must step down for programs that refuse root.
pub fn is_root() -> bool {
    // SAFETY: no arguments.
    unsafe { libc::geteuid() == 0 }
}

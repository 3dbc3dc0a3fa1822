//! The few system calls that the standard library does not offer: waiting for a child with a timeout and
//! with its resource usage, containing it, and counting the system calls it makes.
//!
//! # Safety
//!
//! Every call here takes plain integers, or a pointer to a local variable that outlives the call. The closure that
//! runs between fork and exec only makes system calls. A descriptor is wrapped right where it was opened.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// How a child ended, and what it and the children it waited for used.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Exit code or signal, as the kernel encodes them.
    pub status: i32,
    /// Seconds in the program's own code.
    pub user: f64,
    /// Seconds in the kernel on its behalf.
    pub system: f64,
    /// The largest resident set of any one process, in bytes.
    pub peak: u64,
    /// Page faults that needed no reading.
    pub minor_faults: u64,
    /// Page faults that waited for a file.
    pub major_faults: u64,
    /// Times it gave the processor up.
    pub voluntary_switches: u64,
    /// Times the processor was taken from it.
    pub involuntary_switches: u64,
}

/// Puts the child into a process group of its own and lets the kernel kill it when its parent ends.
///
/// The closure also makes the standard library fork instead of sharing the parent's memory until exec, which
/// would count the parent's peak as the child's.
pub fn contain(command: &mut Command) {
    command.process_group(0);
    // SAFETY: the closure makes one system call and touches no memory of the parent.
    unsafe { command.pre_exec(die_with_parent) };
}

/// Makes `command` run the program `path` instead of its own, in the folder and with the streams that are set in it, with
/// the arguments given and with no environment.
///
/// The standard library keeps the streams of a command to itself: a second command with another program and the
/// same streams cannot be made from outside.
pub fn replace_program(command: &mut Command, path: CString, arguments: Vec<CString>) {
    let become_it = move || {
        let mut list = [std::ptr::null(); MOST_ARGUMENTS + 1];
        if arguments.len() > MOST_ARGUMENTS {
            return Err(io::Error::from_raw_os_error(libc::E2BIG));
        }
        for (place, argument) in list.iter_mut().zip(&arguments) {
            *place = argument.as_ptr();
        }
        let environment = [std::ptr::null()];
        // SAFETY: strings and lists that end in zero and outlive the call; it returns only if it failed.
        unsafe { libc::execve(path.as_ptr(), list.as_ptr(), environment.as_ptr()) };
        Err(io::Error::last_os_error())
    };
    // SAFETY: the closure fills an array of its own and makes one system call.
    unsafe { command.pre_exec(become_it) };
}

/// As many arguments can [`replace_program`] pass on.
const MOST_ARGUMENTS: usize = 256;

/// Lets the kernel kill this process when its parent ends.
pub fn die_with_parent() -> io::Result<()> {
    // SAFETY: plain integers.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes this process the parent of descendants whose own parent ended, so that none is lost from sight.
pub fn adopt_orphans() -> io::Result<()> {
    // SAFETY: plain integers.
    match unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A descriptor that becomes readable when the process `pid` ends.
pub fn open_process(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: plain integers.
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    owned(raw)
}

/// Waits until the process behind `process` ends, or `timeout` is over; whether it ended.
pub fn wait(process: &OwnedFd, timeout: Duration) -> io::Result<bool> {
    let timeout =
        libc::timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
    let mut poll = libc::pollfd { fd: process.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: two local records, alive during the call, and no signal mask.
    let ready = unsafe { libc::ppoll(&mut poll, 1, &timeout, std::ptr::null()) };
    if ready < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::Interrupted { Ok(false) } else { Err(error) };
    }
    Ok(ready > 0)
}

/// Takes the end of the child `pid`, which has ended or is about to.
pub fn reap(pid: u32) -> io::Result<Usage> {
    let mut status = 0;
    // SAFETY: a record of integers, for which zeros are a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to local variables, alive during the call.
        if unsafe { libc::wait4(pid as i32, &mut status, 0, &mut usage) } >= 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok(Usage {
        status,
        user: seconds(usage.ru_utime),
        system: seconds(usage.ru_stime),
        peak: usage.ru_maxrss.max(0) as u64 * 1024,
        minor_faults: usage.ru_minflt.max(0) as u64,
        major_faults: usage.ru_majflt.max(0) as u64,
        voluntary_switches: usage.ru_nvcsw.max(0) as u64,
        involuntary_switches: usage.ru_nivcsw.max(0) as u64,
    })
}

/// Kills every process of the group that `leader` leads.
pub fn kill_group(leader: u32) {
    // SAFETY: plain integers.
    unsafe { libc::kill(-(leader as i32), libc::SIGKILL) };
}

/// The size of an OS page in bytes.
pub fn os_page() -> u64 {
    // SAFETY: a plain integer.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    size.max(1) as u64
}

/// Counts the system calls of the processes that this one will start, from each one's exec on.
#[derive(Debug)]
pub struct CallCounter(File);

/// `struct perf_event_attr` in its first published size; what is not named stays zero.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    breakpoint: u32,
    more: u64,
}

const TRACEPOINT: u32 = 2;
const DISABLED: u64 = 1;
const INHERIT: u64 = 1 << 1;
const ENABLE_ON_EXEC: u64 = 1 << 12;

impl CallCounter {
    /// A counter that stands at zero until a child of this process calls exec.
    pub fn new() -> Result<CallCounter, String> {
        let event = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
            .iter()
            .find_map(|root| std::fs::read_to_string(format!("{root}/events/raw_syscalls/sys_enter/id")).ok())
            .and_then(|text| text.trim().parse().ok())
            .ok_or(
                "the tracepoint raw_syscalls:sys_enter cannot be read (tracefs not mounted, or no right)",
            )?;
        let attributes = Attributes {
            kind: TRACEPOINT,
            size: size_of::<Attributes>() as u32,
            config: event,
            flags: DISABLED | INHERIT | ENABLE_ON_EXEC,
            ..Attributes::default()
        };
        // SAFETY: one local record whose size it states, alive during the call; else plain integers. The process
        // is this one, on any processor, in no group.
        let raw = unsafe { libc::syscall(libc::SYS_perf_event_open, &attributes, 0, -1, -1, 0) };
        let event = owned(raw).map_err(|error| format!("perf_event_open: {error}"))?;
        Ok(CallCounter(File::from(event)))
    }

    /// What was counted in children that have ended.
    pub fn read(&mut self) -> io::Result<u64> {
        let mut count = [0; 8];
        self.0.read_exact(&mut count)?;
        Ok(u64::from_ne_bytes(count))
    }
}

fn owned(raw: libc::c_long) -> io::Result<OwnedFd> {
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as i32) })
}

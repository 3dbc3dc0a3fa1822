//! Waiting for the program while its signals pass through.
//!
//! Signals are not handled but blocked and fetched one by one, so nothing here runs at an arbitrary
//! moment, and a signal can never reach a process identifier that was given to somebody else: the
//! child is reaped by the same loop that forwards.
//!
//! # Safety
//!
//! 1. *Valid arguments*: every pointer handed to the C library points to a live local of the type
//!    that the call expects, and nothing keeps it beyond the call.
//! 2. *After fork*: the closure that runs in the child before exec calls only functions that are safe
//!    in a signal handler, and does not allocate.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// With this exit code.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

/// What the kernel counted for a process and for all it has waited for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub user: Duration,
    pub system: Duration,
    /// Largest resident set of any one of the processes, in bytes.
    pub peak_resident: u64,
    pub minor_faults: u64,
    pub major_faults: u64,
}

/// What is passed on to the program. A signal that stops is left alone: it stops both or neither.
const FORWARDED: [libc::c_int; 15] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGWINCH,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGPWR,
    libc::SIGURG,
    libc::SIGCONT,
    libc::SIGPIPE,
];

/// A set of signals.
#[derive(Clone, Copy)]
struct Signals(libc::sigset_t);

impl Signals {
    fn of(signals: impl IntoIterator<Item = libc::c_int>) -> Signals {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: (1) the set is a local; the call initialises it.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: initialised by the call above.
        let mut set = unsafe { set.assume_init() };
        for signal in signals {
            // SAFETY: (1) an initialised local.
            unsafe { libc::sigaddset(&mut set, signal) };
        }
        Signals(set)
    }

    /// Blocks these signals; returns what was blocked before.
    fn block(&self) -> Signals {
        let mut before = Signals::of([]);
        // SAFETY: (1) both sets are initialised and live.
        unsafe { libc::sigprocmask(libc::SIG_BLOCK, &self.0, &mut before.0) };
        before
    }

    /// Makes these the signals that are blocked.
    fn impose(&self) {
        // SAFETY: (1) an initialised set; a null pointer for the old one is allowed.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }

    /// Waits for one of these signals: its number, and whether a process sent it (and not a terminal).
    fn next(&self) -> Option<(libc::c_int, bool)> {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: (1) an initialised set and a local to be filled.
        let signal = unsafe { libc::sigwaitinfo(&self.0, info.as_mut_ptr()) };
        if signal < 0 {
            return None;
        }
        // SAFETY: filled by the call, which succeeded; all zeros is valid besides.
        let info = unsafe { info.assume_init() };
        Some((signal, info.si_code <= 0))
    }
}

/// Starts the program, passes signals on to it, waits for its end.
///
/// A signal from the terminal has reached the program already, since it belongs to the same process
/// group; only those that some process sent to us alone are passed on.
///
/// `started` learns the process identifier. The error is that of starting. Any other thread of the process must have
/// [blocked](block_signals) the signals that are waited for, or it could take them.
pub fn run(command: &mut Command, started: impl FnOnce(u32)) -> io::Result<(End, Usage)> {
    default_disposition(libc::SIGCHLD);
    let awaited = Signals::of(FORWARDED.into_iter().chain([libc::SIGCHLD]));
    let before = awaited.block();
    let in_child = before;
    // SAFETY: (2) the closure makes one call, which is safe in a signal handler.
    unsafe {
        command.pre_exec(move || {
            in_child.impose();
            Ok(())
        })
    };
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            before.impose();
            return Err(error);
        }
    };
    let pid = child.id() as libc::pid_t;
    started(child.id());
    let ended = loop {
        match awaited.next() {
            Some((libc::SIGCHLD, _)) => {
                if let Some(ended) = reap(pid)? {
                    break ended;
                }
            }
            Some((signal, true)) => {
                // SAFETY: no pointer is involved; the child has not been reaped, so the identifier is its own.
                unsafe { libc::kill(pid, signal) };
            }
            Some((_, false)) | None => {}
        }
    };
    before.impose();
    Ok(ended)
}

/// Blocks, for the calling thread, the signals that [`run`] waits for: they must come to the thread that waits.
pub fn block_signals() {
    Signals::of(FORWARDED.into_iter().chain([libc::SIGCHLD])).block();
}

/// Sets what a signal does to the default: a parent that ignores `SIGCHLD` passes that on, and
/// nobody could be waited for; a signal that is to kill us must not be ignored.
fn default_disposition(signal: libc::c_int) {
    // SAFETY: no pointer is involved, and no handler of ours is displaced.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// The end of the child, if it has ended.
fn reap(pid: libc::pid_t) -> io::Result<Option<(End, Usage)>> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: (1) two locals to be filled.
    let reaped = unsafe { libc::wait4(pid, &mut status, libc::WNOHANG, usage.as_mut_ptr()) };
    if reaped < 0 {
        return Err(io::Error::last_os_error());
    }
    if reaped != pid {
        return Ok(None);
    }
    // SAFETY: filled by the call, which succeeded; all zeros is valid besides.
    let usage = unsafe { usage.assume_init() };
    let end = if libc::WIFSIGNALED(status) {
        End::Signal(libc::WTERMSIG(status))
    } else {
        End::Exit(libc::WEXITSTATUS(status))
    };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    let usage = Usage {
        user: time(usage.ru_utime),
        system: time(usage.ru_stime),
        peak_resident: usage.ru_maxrss as u64 * 1024,
        minor_faults: usage.ru_minflt as u64,
        major_faults: usage.ru_majflt as u64,
    };
    Ok(Some((end, usage)))
}

/// Ends this process by the signal that ended the program, so that whoever started us sees the same
/// end. Returns if the signal does not kill.
pub fn die_by(signal: i32) {
    // The program has left its core file; ours would overwrite it.
    // SAFETY: no pointer is involved.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    default_disposition(signal);
    Signals::of([]).impose();
    // SAFETY: no pointer is involved.
    unsafe { libc::raise(signal) };
}

/// The name of a signal, `SIGTERM`; by number if it has none.
pub fn signal_name(signal: i32) -> String {
    const NAMES: [(i32, &str); 21] = [
        (libc::SIGHUP, "HUP"),
        (libc::SIGINT, "INT"),
        (libc::SIGQUIT, "QUIT"),
        (libc::SIGILL, "ILL"),
        (libc::SIGTRAP, "TRAP"),
        (libc::SIGABRT, "ABRT"),
        (libc::SIGBUS, "BUS"),
        (libc::SIGFPE, "FPE"),
        (libc::SIGKILL, "KILL"),
        (libc::SIGUSR1, "USR1"),
        (libc::SIGSEGV, "SEGV"),
        (libc::SIGUSR2, "USR2"),
        (libc::SIGPIPE, "PIPE"),
        (libc::SIGALRM, "ALRM"),
        (libc::SIGTERM, "TERM"),
        (libc::SIGXCPU, "XCPU"),
        (libc::SIGXFSZ, "XFSZ"),
        (libc::SIGVTALRM, "VTALRM"),
        (libc::SIGPROF, "PROF"),
        (libc::SIGIO, "IO"),
        (libc::SIGSYS, "SYS"),
    ];
    match NAMES.iter().find(|(number, _)| *number == signal) {
        Some((_, name)) => format!("SIG{name}"),
        None => format!("signal {signal}"),
    }
}

/// Whether the user of this process is root.
pub fn is_root() -> bool {
    // SAFETY: no argument, no failure.
    unsafe { libc::geteuid() == 0 }
}

/// Whether the file grants capabilities to whoever runs it: the loader then ignores `LD_PRELOAD`.
pub fn has_capabilities(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: (1) two strings that end with a zero byte; a length of zero asks only for the size.
    let size =
        unsafe { libc::getxattr(path.as_ptr(), c"security.capability".as_ptr(), std::ptr::null_mut(), 0) };
    size > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names() {
        assert_eq!(signal_name(libc::SIGTERM), "SIGTERM");
        assert_eq!(signal_name(40), "signal 40");
    }
}

//! Single-stepping a subject from outside.
//!
//! # Safety
//!
//! - T1: `ptrace` is called only for a child that has stopped, by the thread that started it; what it writes to is
//!   as large as it says.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_uint};
use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::ptr::null_mut;

use crate::subject::CANNOT;

/// A count beyond this is no fast path any more.
const MOST_STEPS: usize = 100_000;
/// The length of the `call` behind a subject's breakpoint.
const CALL_LEN: u64 = 2;

/// A mapped file: addresses in it, less `base`, are those that the file itself states.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Module {
    /// The file's path.
    pub path: String,
    /// The lowest address at which it is mapped.
    pub base: u64,
    /// One past the highest.
    pub end: u64,
}

impl Module {
    /// Whether the address lies in it.
    pub fn holds(&self, address: &u64) -> bool {
        (self.base..self.end).contains(address)
    }
}

/// What a subject's run showed.
pub enum Run {
    /// The addresses of the instructions of each counted call, in order, and where the files lay.
    Counted(Vec<Vec<u64>>, Vec<Module>),
    /// Why nothing can be counted on this machine.
    Cannot(String),
}

enum Event {
    Stopped(c_int),
    Ended(String),
    Exited(u8),
}

/// Runs a subject to its end and follows all calls that it wants counted.
pub fn follow(mut subject: Command) -> Result<Run, String> {
    subject.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = subject.spawn().map_err(|error| format!("{subject:?}: {error}"))?;
    let pid = child.id() as libc::pid_t;
    let followed = follow_process(pid);
    if followed.is_err() {
        // A subject that is left stopped would stay for ever.
        let _ = child.kill();
        let _ = child.wait();
    }
    let (calls, modules, event) = followed?;
    match event {
        Event::Exited(0) => Ok(Run::Counted(calls, modules)),
        Event::Exited(CANNOT) => Ok(Run::Cannot(messages(&mut child))),
        Event::Exited(status) => Err(format!("{subject:?}: status {status}: {}", messages(&mut child))),
        Event::Ended(how) => Err(format!("{subject:?}: {how}: {}", messages(&mut child))),
        Event::Stopped(_) => unreachable!("a stopped subject is continued"),
    }
}

fn messages(child: &mut Child) -> String {
    let mut text = String::new();
    if let Some(pipe) = &mut child.stderr {
        let _ = pipe.read_to_string(&mut text);
    }
    text.trim().to_owned()
}

type Followed = (Vec<Vec<u64>>, Vec<Module>, Event);

fn follow_process(pid: libc::pid_t) -> Result<Followed, String> {
    let (mut calls, mut modules) = (Vec::new(), Vec::new());
    loop {
        match wait(pid)? {
            Event::Stopped(libc::SIGTRAP) => {
                if modules.is_empty() {
                    request(libc::PTRACE_SETOPTIONS, pid, libc::PTRACE_O_EXITKILL as usize)?;
                    modules = read_modules(pid)?;
                }
                calls.push(follow_call(pid)?);
                request(libc::PTRACE_CONT, pid, 0)?;
            }
            Event::Stopped(signal) => request(libc::PTRACE_CONT, pid, signal as usize)?,
            ended => return Ok((calls, modules, ended)),
        }
    }
}

/// The addresses of all instructions from the callee's first to its `ret`. The subject has stopped just before the call.
fn follow_call(pid: libc::pid_t) -> Result<Vec<u64>, String> {
    let start = registers(pid)?;
    let mut steps: Vec<u64> = Vec::new();
    loop {
        request(libc::PTRACE_SINGLESTEP, pid, 0)?;
        match wait(pid)? {
            Event::Stopped(libc::SIGTRAP) => {}
            Event::Stopped(signal) => return Err(format!("signal {signal} in a counted call")),
            Event::Exited(status) => return Err(format!("exit with {status} in a counted call")),
            Event::Ended(how) => return Err(format!("{how} in a counted call")),
        }
        let now = registers(pid)?;
        if now.rip == start.rip + CALL_LEN && now.rsp == start.rsp {
            return Ok(steps);
        }
        // A repeated string instruction stops once a repetition, but is one.
        if steps.last() != Some(&now.rip) {
            steps.push(now.rip);
        }
        if steps.len() > MOST_STEPS {
            return Err(format!("more than {MOST_STEPS} instructions in a counted call"));
        }
    }
}

fn wait(pid: libc::pid_t) -> Result<Event, String> {
    let mut status = 0;
    // SAFETY: `status` is a variable of our own.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    if waited != pid {
        return Err(format!("waitpid: {}", std::io::Error::last_os_error()));
    }
    Ok(if libc::WIFSTOPPED(status) {
        Event::Stopped(libc::WSTOPSIG(status))
    } else if libc::WIFEXITED(status) {
        Event::Exited(libc::WEXITSTATUS(status) as u8)
    } else {
        Event::Ended(format!("ended by signal {}", libc::WTERMSIG(status)))
    })
}

fn request(what: c_uint, pid: libc::pid_t, data: usize) -> Result<(), String> {
    // SAFETY: T1; the requests made through here write nothing.
    let answer = unsafe { libc::ptrace(what, pid, null_mut::<u8>(), data) };
    if answer == 0 { Ok(()) } else { Err(format!("ptrace {what}: {}", std::io::Error::last_os_error())) }
}

fn registers(pid: libc::pid_t) -> Result<libc::user_regs_struct, String> {
    // SAFETY: a structure of integers.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    // SAFETY: T1.
    let answer = unsafe { libc::ptrace(libc::PTRACE_GETREGS, pid, null_mut::<u8>(), &raw mut registers) };
    if answer == 0 {
        Ok(registers)
    } else {
        Err(format!("ptrace, registers: {}", std::io::Error::last_os_error()))
    }
}

fn read_modules(pid: libc::pid_t) -> Result<Vec<Module>, String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).map_err(|error| format!("maps: {error}"))?;
    Ok(modules(&maps))
}

/// The files in the text of `/proc/PID/maps`. The loader puts a file's first page first.
fn modules(maps: &str) -> Vec<Module> {
    let mut found: Vec<Module> = Vec::new();
    for line in maps.lines() {
        let Some(at) = line.find('/') else { continue };
        let path = &line[at..];
        let Some((base, end)) = range(line) else { continue };
        match found.iter_mut().find(|module| module.path == path) {
            Some(module) => module.end = module.end.max(end),
            None => found.push(Module { path: path.to_owned(), base, end }),
        }
    }
    found
}

fn range(line: &str) -> Option<(u64, u64)> {
    let (base, end) = line.split_once(' ')?.0.split_once('-')?;
    Some((u64::from_str_radix(base, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_become_one_module_a_file() {
        let maps = "1000-2000 r--p 00000000 08:01 1   /lib/a.so\n\
                    2000-5000 r-xp 00001000 08:01 1   /lib/a.so\n\
                    7000-8000 rw-p 00000000 00:00 0 \n\
                    9000-a000 r--p 00000000 08:01 2   /lib/b c.so\n";
        let found = modules(maps);
        assert_eq!(
            found,
            [
                Module { path: "/lib/a.so".into(), base: 0x1000, end: 0x5000 },
                Module { path: "/lib/b c.so".into(), base: 0x9000, end: 0xa000 },
            ]
        );
    }
}

//! Every system call of the allocator refused in turn, on three real programs.
//!
//! A program then either does its work as if nothing had happened, or fails as programs do that get no memory: by an exit
//! status or a message and SIGABRT. What it must not do: crash, hang, say that all is well with other output than usual, or end by a
//! failed check of the allocator's.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::notify::{self, Call, Seen, When};
use crate::os;
use crate::setting::Setting;

const TIME_LIMIT: Duration = Duration::from_secs(60);

const fn call(name: &'static str, number: libc::c_long, error: i32) -> Call {
    Call { name, number, argument: None, error }
}

/// The allocator maps so, and hardly anybody else.
const NO_RESERVE: Option<(usize, u32, u32)> =
    Some((3, libc::MAP_NORESERVE as u32, libc::MAP_NORESERVE as u32));
/// The loader protects what it has relocated; what becomes writable is ours, or the stack of a thread.
const WRITABLE: Option<(usize, u32, u32)> = Some((2, libc::PROT_WRITE as u32, libc::PROT_WRITE as u32));
/// Threads, whoever starts them; forks are let through.
const THREAD: Option<(usize, u32, u32)> = Some((0, libc::CLONE_THREAD as u32, libc::CLONE_THREAD as u32));

/// The calls, each with the error that the kernel would give.
pub const CALLS: [Call; 17] = [
    Call { argument: NO_RESERVE, ..call("mmap", libc::SYS_mmap, libc::ENOMEM) },
    call("munmap", libc::SYS_munmap, libc::ENOMEM),
    Call { argument: WRITABLE, ..call("mprotect", libc::SYS_mprotect, libc::ENOMEM) },
    call("madvise", libc::SYS_madvise, libc::EAGAIN),
    call("madvise (unknown)", libc::SYS_madvise, libc::EINVAL),
    call("mremap", libc::SYS_mremap, libc::ENOMEM),
    call("membarrier", libc::SYS_membarrier, libc::ENOSYS),
    call("rseq", libc::SYS_rseq, libc::ENOSYS),
    Call { argument: THREAD, ..call("clone of a thread", libc::SYS_clone, libc::EAGAIN) },
    call("getrandom", libc::SYS_getrandom, libc::ENOSYS),
    call("sched_getaffinity", libc::SYS_sched_getaffinity, libc::EPERM),
    call("mincore", libc::SYS_mincore, libc::ENOMEM),
    call("prctl", libc::SYS_prctl, libc::EINVAL),
    call("rt_sigprocmask", libc::SYS_rt_sigprocmask, libc::EPERM),
    call("gettid", libc::SYS_gettid, libc::ENOSYS),
    call("prlimit", libc::SYS_prlimit64, libc::EPERM),
    call("process_vm_readv", libc::SYS_process_vm_readv, libc::EPERM),
];

/// When they are refused.
pub const MOMENTS: [When; 10] = [
    When::From(1),
    When::From(2),
    When::From(4),
    When::From(8),
    When::From(20),
    When::From(60),
    When::Only(1),
    When::Only(3),
    When::Only(10),
    When::Every(2),
];

/// A program and its arguments, which end in the same output each time.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// How tables call it.
    pub name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
}

/// An interpreter with threads, one that forks, and a sort that asks for much memory at once.
pub const SUBJECTS: [Subject; 3] = [
    Subject { name: "python3", program: "/usr/bin/python3", arguments: &["-c", PYTHON] },
    Subject { name: "perl", program: "perl", arguments: &["-e", PERL] },
    Subject {
        name: "sort",
        program: "bash",
        arguments: &["-o", "pipefail", "-c", "seq 60000 | tac | sort -n --parallel=4 -S 40M | cksum"],
    },
];

const PYTHON: &str = "\
import threading
def work(out, n):
    d = {}
    for i in range(30000): d[i % 3000] = 'x' * (i % 700)
    out[n] = sum(map(len, d.values()))
out = {}
threads = [threading.Thread(target=work, args=(out, n)) for n in range(4)]
for t in threads: t.start()
for t in threads: t.join()
big = [bytearray(1 << 20) for _ in range(60)]
big[0] *= 20
del big
print(sorted(out.items()))
";

const PERL: &str = "\
my %h; $h{$_ % 5000} .= 'y' x ($_ % 50) for 1..100000;
my $pid = fork(); if (!$pid) { my @a = map { 'z' x 100 } 1..20000; exit(scalar(@a) == 20000 ? 0 : 1); }
waitpid($pid, 0); my $child = $?;
my $s = 0; $s += length for values %h; print \"$s $child\\n\";
";

/// What became of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// As without refusals.
    Unimpressed,
    /// It said so, and ended.
    CleanFailure(String),
    /// What must not be.
    Bad(String),
}

/// A finished run.
struct Run {
    status: ExitStatus,
    output: String,
    errors: String,
}

fn run(command: &mut Command) -> Result<Result<Run, String>, String> {
    let failed = |error: std::io::Error| error.to_string();
    let folder = tempfile::tempdir().map_err(failed)?;
    let (output, errors) = (folder.path().join("output"), folder.path().join("errors"));
    command.stdin(Stdio::null()).stdout(File::create(&output).map_err(failed)?);
    command.stderr(File::create(&errors).map_err(failed)?);
    let child = command.spawn().map_err(failed)?;
    let usage = os::wait_until(child.id(), Instant::now() + TIME_LIMIT).map_err(failed)?;
    os::kill_group(child.id());
    let read = |path: &Path| std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let (output, errors) = (read(&output).map_err(failed)?, read(&errors).map_err(failed)?);
    let Some(usage) = usage else {
        // It was killed just now.
        let _ = os::reap(child.id());
        return Ok(Err(format!("hung for {TIME_LIMIT:?}: {errors}")));
    };
    Ok(Ok(Run { status: usage.status, output, errors }))
}

impl Subject {
    fn command(&self, setting: &Setting) -> Command {
        let mut command = Command::new(self.program);
        command.args(self.arguments).env("PERL_HASH_SEED", "0").env("LC_ALL", "C");
        setting.apply(&mut command);
        // Before any filter that would refuse it.
        os::contain(&mut command);
        command
    }

    /// The output of an undisturbed run.
    ///
    /// # Errors
    /// When there is no such program, or it fails.
    pub fn usual(&self) -> Result<String, String> {
        let run = run(&mut self.command(&Setting::plain()))??;
        if run.status.success() { Ok(run.output) } else { Err(format!("{}: {}", run.status, run.errors)) }
    }

    /// One run with refusals.
    ///
    /// # Errors
    /// When the run could not be made or watched at all.
    pub fn refused(
        &self,
        setting: &Setting,
        call: Call,
        when: When,
        usual: &str,
    ) -> Result<(Verdict, Seen), String> {
        let mut command = self.command(setting);
        let supervisor = notify::refuse(&mut command, call, when).map_err(|error| error.to_string())?;
        let run = run(&mut command);
        // Its pipes are the supervisor's sign that no child will come.
        drop(command);
        let seen =
            supervisor.join().map_err(|_| "the supervisor panicked")?.map_err(|error| error.to_string());
        Ok((judge(run?, usual), seen?))
    }
}

fn judge(run: Result<Run, String>, usual: &str) -> Verdict {
    let run = match run {
        Ok(run) => run,
        Err(hung) => return Verdict::Bad(hung),
    };
    let first = run.errors.lines().next().unwrap_or("").to_owned();
    if run.errors.contains("internal check failed") || run.errors.contains("freestone: double free") {
        return Verdict::Bad(first);
    }
    match (run.status.code(), run.status.signal()) {
        (Some(0), _) if run.output == usual => Verdict::Unimpressed,
        (Some(0), _) => Verdict::Bad(format!("other output: {:.80}; {first}", run.output)),
        (Some(code), _) => Verdict::CleanFailure(format!("exit status {code}: {first}")),
        (None, Some(libc::SIGABRT)) if !first.is_empty() => Verdict::CleanFailure(format!("abort: {first}")),
        (None, signal) => Verdict::Bad(format!("signal {}: {first}", signal.unwrap_or(0))),
    }
}

//! `freestone ctl` and `freestone top` on running programs.

#[path = "shared/library.rs"]
mod library;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use library::library;

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_freestone");

fn freestone(arguments: &[&str]) -> Output {
    let mut command = Command::new(EXECUTABLE);
    command.args(arguments).env_remove("FREESTONE_CONF").env_remove("LD_PRELOAD").stdin(Stdio::null());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A shell under `freestone run` that says its number, runs `script`, and ends when its input does.
struct Program {
    child: Child,
    pid: u32,
}

impl Program {
    fn start(options: &[&str], script: &str) -> Program {
        let mut child = Command::new(EXECUTABLE)
            .args(["run", "-q", "--lib", library()])
            .args(options)
            .args(["--", "sh", "-c", &format!("echo $$; {script}")])
            .env_remove("FREESTONE_CONF")
            .env_remove("LD_PRELOAD")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Program { child, pid: line.trim().parse().unwrap() }
    }

    fn ctl(&self, words: &[&str]) -> Output {
        let pid = self.pid.to_string();
        freestone(&[&["ctl", pid.as_str()][..], words].concat())
    }

    /// Waits until the control is open; false when it cannot be here.
    fn is_open(&self) -> bool {
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until {
            if self.ctl(&["ping"]).status.success() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        freestone_testkit::skipped(format_args!(
            "no control opens here: {}",
            text(&self.ctl(&["ping"]).stderr)
        ));
        false
    }

    /// The files of the control.
    fn files(&self) -> Vec<PathBuf> {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.pid)).unwrap();
        let line = maps.lines().find(|line| line.ends_with(&format!("/{}.page", self.pid))).unwrap();
        let page = PathBuf::from(&line[line.find('/').unwrap()..]);
        vec![page.with_extension("socket"), page]
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

#[test]
fn a_program_with_control_is_commanded_and_watched() {
    let program = Program::start(&["--control"], "read line");
    if !program.is_open() {
        return program.end();
    }
    // A shell knows the number of the command, not that of the program.
    let outer = program.child.id().to_string();
    let answer = freestone(&["ctl", &outer, "ping"]);
    assert!(text(&answer.stdout).starts_with(&format!("process {}, ", program.pid)), "{answer:?}");
    let files = program.files();
    for file in &files {
        let about = std::fs::metadata(file).unwrap();
        assert_eq!(about.mode() & 0o777, 0o600, "{}", file.display());
    }
    assert!(text(&program.ctl(&[]).stdout).contains("set NAME=VALUE"));
    assert!(text(&program.ctl(&["release"]).stdout).starts_with("gave back "));
    assert!(text(&program.ctl(&["knobs"]).stdout).contains("check=0"));
    assert!(program.ctl(&["set", "check=1"]).status.success());
    assert!(text(&program.ctl(&["knobs"]).stdout).contains("check=1"));
    let ledger: serde_json::Value = serde_json::from_slice(&program.ctl(&["ledger"]).stdout).unwrap();
    assert_eq!(ledger["pid"], program.pid);
    let refused = program.ctl(&["set", "count=1"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("at the start only"), "{}", text(&refused.stderr));
    let listed = freestone(&["ctl"]);
    assert!(text(&listed.stdout).lines().any(|line| line.trim() == format!("{}  sh", program.pid)));

    let pid = program.pid.to_string();
    let shown = freestone(&["top", "--once", "--interval", "0.3", &pid]);
    let shown = text(&shown.stdout);
    assert!(shown.starts_with(&format!("sh ({pid})")), "{shown}");
    for expected in ["resident", "live", "a second", "size class"] {
        assert!(shown.contains(expected), "{shown}");
    }
    let json = freestone(&["top", "--once", "--json", "--interval", "0.3", &pid]).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["command"], "sh");
    assert!(json["resident"].as_u64().unwrap() > 100 << 10);
    assert_eq!(json["heap"]["estimated"], false);

    program.end();
    assert!(files.iter().all(|file| !file.exists()), "removed at the end");
}

#[test]
fn without_control_there_is_advice_and_what_the_kernel_knows() {
    let program = Program::start(&[], "read line");
    let refused = program.ctl(&["ping"]);
    assert_eq!(refused.status.code(), Some(1));
    let message = text(&refused.stderr);
    assert!(message.contains("runs on Freestone but has not opened its control"), "{message}");
    assert!(message.contains("freestone run --control"), "{message}");
    let shown = freestone(&["top", "--once", "--interval", "0.1", &program.pid.to_string()]);
    let shown = text(&shown.stdout);
    assert!(shown.contains("as the kernel sees it") && shown.contains("FREESTONE_CONF=control:1"), "{shown}");
    program.end();
}

#[test]
fn files_left_behind_by_a_killed_program_are_taken_for_what_they_are() {
    // `exec` keeps the number and closes nothing in good order: the second program finds the first one's files.
    let program = Program::start(&["--control"], "sleep 1; exec cat");
    if !program.is_open() {
        return program.end();
    }
    let files = program.files();
    let until = Instant::now() + Duration::from_secs(10);
    let mut name = String::new();
    while name.trim() != "cat" && Instant::now() < until {
        name = std::fs::read_to_string(format!("/proc/{}/comm", program.pid)).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(program.is_open());
    assert!(text(&freestone(&["ctl"]).stdout).contains(&format!("{}  cat", program.pid)));
    program.end();
    assert!(files.iter().all(|file| !file.exists()));
}

#[test]
fn a_forked_child_has_a_control_of_its_own_by_option() {
    let fork = "import os, time\npid = os.fork()\nif pid == 0:\n    held = [bytearray(1000) for _ in range(100000)]\n    \
                time.sleep(60)\nelse:\n    print(pid, flush=True)\n    input()\n    os.kill(pid, 9)";
    if !Path::new("/usr/bin/python3").exists() {
        return freestone_testkit::skipped(format_args!("there is no /usr/bin/python3"));
    }
    let script = format!("exec /usr/bin/python3 -c '{fork}'");
    let mut program = Program::start(&["--control"], &script);
    let mut line = String::new();
    BufReader::new(program.child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let parent = program.pid;
    program.pid = line.trim().parse().unwrap();
    if program.is_open() {
        let answer = program.ctl(&["ping"]);
        assert!(text(&answer.stdout).starts_with(&format!("process {},", program.pid)));
        assert!(freestone(&["ctl", &parent.to_string(), "ping"]).status.success());
    }
    let (child, files) = (program.pid, program.files());
    program.pid = parent;
    // The parent waits for a line: the end of its input ends it, and it takes the child along.
    use std::io::Write;
    program.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    program.end();
    assert!(files.iter().all(|file| file.exists()), "who is killed leaves its files");
    assert!(freestone(&["ctl", &child.to_string(), "ping"]).status.code() == Some(1));
    files.iter().for_each(|file| std::fs::remove_file(file).unwrap());
}

#[test]
fn only_the_user_and_root_may_look() {
    let program = Program::start(&["--control"], "read line");
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let setpriv = Path::new("/usr/bin/setpriv").exists();
    if !root || !setpriv || !program.is_open() {
        freestone_testkit::skipped(format_args!("needs root and setpriv"));
        return program.end();
    }
    // Where another user can execute it.
    let copy = std::env::temp_dir().join(format!("freestone-copy-{}", std::process::id()));
    std::fs::copy(EXECUTABLE, &copy).unwrap();
    let answer = Command::new("/usr/bin/setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&copy)
        .args(["ctl", &program.pid.to_string(), "ping"])
        .output()
        .unwrap();
    std::fs::remove_file(&copy).unwrap();
    assert_eq!(answer.status.code(), Some(1));
    assert!(text(&answer.stderr).contains("only that user and root can look"), "{}", text(&answer.stderr));
    program.end();
}

#[test]
fn numbers_that_are_no_processes_are_answered() {
    for (arguments, code, expected) in [
        (&["ctl", "4194305", "ping"][..], 1, "there is no process 4194305"),
        (&["top", "4194305"], 1, "there is no process 4194305"),
        (&["top"], 2, "which process?"),
        (&["top", "cat"], 2, "'cat' is no number of a process"),
        (&["top", "--interval", "0", "1"], 2, "from 0.1 to 3600"),
        (&["ctl", "cat"], 2, "'cat' is no number of a process"),
        (&["ctl", "--verbose"], 2, "has no option"),
    ] {
        let output = freestone(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    }
    assert!(text(&freestone(&["top", "--help"]).stdout).starts_with("freestone top"));
    assert!(text(&freestone(&["help", "ctl"]).stdout).starts_with("freestone ctl"));
}

#[test]
fn what_nobody_touches_is_told_from_what_is_read() {
    const SCRIPT: &str = "import select, sys\ninput()\nforgotten = [bytearray(3000) for _ in range(10000)]\n\
        read = [bytearray(3000) for _ in range(10000)]\nprint('ready', flush=True)\n\
        while not select.select([sys.stdin], [], [], 0.02)[0]:\n    sum(b[0] + b[1500] + b[2999] for b in read)\n";
    if !Path::new("/usr/bin/python3").exists() {
        return freestone_testkit::skipped(format_args!("there is no /usr/bin/python3"));
    }
    let script = format!("exec /usr/bin/python3 -c \"{SCRIPT}\"");
    let mut program = Program::start(&["--control"], &script);
    if !program.is_open() {
        return program.end();
    }
    assert!(program.ctl(&["profile", "start", "16K"]).status.success());
    use std::io::Write;
    program.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    let mut line = String::new();
    BufReader::new(program.child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "ready");
    let pid = program.pid.to_string();
    let told = freestone(&["profile", "--idle", "1", "-f", "raw", &pid]);
    if text(&told.stderr).contains("does not tell") {
        freestone_testkit::skipped(format_args!("{}", text(&told.stderr)));
        return program.end();
    }
    let figure = |line: &str, place: usize| line.split(' ').nth(place).unwrap().parse::<f64>().unwrap();
    let sum = |word: &str, place: usize| {
        let lines = text(&told.stdout).lines().filter(|line| line.starts_with(word));
        lines.map(|line| figure(line, place)).sum::<f64>()
    };
    let (live, idle) = (sum("site ", 7), sum("idle ", 2));
    assert!(live > 50e6 && (0.4..0.65).contains(&(idle / live)), "{idle} of {live}: {}", text(&told.stderr));
    let list = freestone(&["profile", "--idle", "0.3", &pid]);
    assert!(text(&list.stdout).contains("that nobody touched"), "{}", text(&list.stdout));
    program.end();
}

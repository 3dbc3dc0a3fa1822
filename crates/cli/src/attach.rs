//! A running process, as it can be looked at from outside: what `/proc` says, and its control if it has opened one.
//!
//! The control is found where the process maps its shared page, whatever directory that is in, also in another container. It is
//! read like a file, so nothing that the process does can hurt the reader.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use freestone_base::live::{self, ClassFigure, Figure, word};

/// How long a command may take: a large heap is given back to the system in far less.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest answer that is read.
const LONGEST: u64 = 4 << 20;

/// A process of this machine.
#[derive(Debug)]
pub struct Process {
    pub pid: u32,
    pub name: String,
    pub threads: u64,
    user: u32,
    /// Its number in its own container.
    inner_pid: u32,
    /// When it was started, in the kernel's ticks.
    started: u64,
}

/// What of Freestone a process shows.
pub enum Presence {
    /// An open control.
    Open(Control),
    /// The library, but no control.
    Closed,
    /// Nothing.
    Unknown,
}

impl Process {
    /// The process with this number. The message says why there is none to look at.
    pub fn find(pid: u32) -> Result<Process, String> {
        let status = match fs::read_to_string(format!("/proc/{pid}/status")) {
            Ok(status) => status,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(format!("there is no process {pid}"));
            }
            Err(error) => return Err(format!("process {pid} cannot be looked at: {error}")),
        };
        let field = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        let number = |name: &str| field(name).and_then(|text| text.split_whitespace().next()?.parse().ok());
        let name = field("Name").unwrap_or("?").to_string();
        if let Some(leader) = number("Tgid").filter(|&leader| leader != u64::from(pid)) {
            return Err(format!("{pid} is a thread of process {leader} ({name})"));
        }
        if field("State").is_some_and(|state| state.starts_with(['Z', 'X'])) {
            return Err(format!("process {pid} ({name}) has ended"));
        }
        let inner_pid = field("NSpid").and_then(|text| text.split_whitespace().last()?.parse().ok());
        // The second of the four is the one for whom the process acts.
        let user = field("Uid").and_then(|text| text.split_whitespace().nth(1)?.parse().ok());
        Ok(Process {
            pid,
            name,
            threads: number("Threads").unwrap_or(1),
            user: user.unwrap_or(0),
            inner_pid: inner_pid.unwrap_or(pid),
            started: started(pid).unwrap_or(0),
        })
    }

    /// The process that is meant by a number: of a `freestone run`, which is what `$!` of a shell says, the program that
    /// it has started.
    pub fn meant(pid: u32) -> Result<Process, String> {
        let mut process = Process::find(pid)?;
        while process.name == "freestone" && matches!(process.presence(), Ok(Presence::Unknown)) {
            match process.only_child() {
                Some(child) => process = child,
                None => break,
            }
        }
        Ok(process)
    }

    /// Its child, if it has one and no more. `freestone run` has one.
    fn only_child(&self) -> Option<Process> {
        let mut children = numbers().filter(|&pid| parent(pid) == Some(self.pid));
        let child = children.next()?;
        if children.next().is_some() {
            return None;
        }
        Process::find(child).ok()
    }

    /// Whether it still runs, and its number is not another's by now.
    pub fn is_alive(&self) -> bool {
        started(self.pid) == Some(self.started) && Process::find(self.pid).is_ok()
    }

    /// `redis-server (4711)`.
    pub fn shown(&self) -> String {
        format!("{} ({})", self.name, self.pid)
    }

    /// What of Freestone it shows. The message says why it cannot be looked into.
    pub fn presence(&self) -> Result<Presence, String> {
        let mut bytes = Vec::new();
        let read = File::open(self.proc("maps")).and_then(|mut file| file.read_to_end(&mut bytes));
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(format!(
                    "{} belongs to user {} or is protected: only that user and root can look into it",
                    self.shown(),
                    self.user
                ));
            }
            Err(error) if self.is_alive() => {
                return Err(format!("{} cannot be looked into: {error}", self.shown()));
            }
            Err(_) => return Err(self.ended()),
        }
        let maps = String::from_utf8_lossy(&bytes);
        match self.page_among(&maps) {
            Some(path) if path.ends_with(" (deleted)") => Err(format!(
                "{} has closed its control, or somebody removed its file {}",
                self.shown(),
                path.trim_end_matches(" (deleted)")
            )),
            Some(path) => Control::open(self, Path::new(path)).map(Presence::Open),
            None if maps.contains("libfreestone_malloc") => Ok(Presence::Closed),
            None => Ok(Presence::Unknown),
        }
    }

    /// Its control, or a message that says how to get one.
    pub fn control(&self) -> Result<Control, String> {
        match self.presence()? {
            Presence::Open(control) => Ok(control),
            Presence::Closed => {
                Err(format!("{} runs on Freestone but has not opened its control.{HOW}", self.shown()))
            }
            Presence::Unknown => Err(format!("{} shows no sign of Freestone.{HOW}", self.shown())),
        }
    }

    /// That it has ended.
    pub fn ended(&self) -> String {
        format!("{} has ended", self.shown())
    }

    /// A file about it.
    pub fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }

    /// The path of the shared page among the mappings: of a file, shared, named after the process.
    fn page_among<'a>(&self, maps: &'a str) -> Option<&'a str> {
        let name = format!("/{}.page", self.inner_pid);
        maps.lines().find_map(|line| {
            let (fields, path) = line.split_at(line.find('/')?);
            let shared = fields.split_whitespace().nth(1)?.ends_with('s');
            let own = path.trim_end_matches(" (deleted)").ends_with(&name) && path.contains("/freestone");
            (shared && own).then_some(path)
        })
    }
}

/// How to have a control.
pub const HOW: &str = " To have one, start the program by `freestone run --control`, or with FREESTONE_CONF=control:1, or \
                       let it call freestone::control::open() (in C freestone_control_open())";

/// When a process was started, in the kernel's ticks.
fn started(pid: u32) -> Option<u64> {
    of_stat(pid, 22)
}

/// Who started a process, or has adopted it.
fn parent(pid: u32) -> Option<u32> {
    of_stat(pid, 4).and_then(|parent| parent.try_into().ok())
}

/// A field of a process's `stat`, the first being 1; counted behind the name, which may hold anything.
fn of_stat(pid: u32, field: usize) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    stat.rsplit_once(')')?.1.split_whitespace().nth(field - 3)?.parse().ok()
}

/// The numbers of all processes.
fn numbers() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The control of a process.
pub struct Control {
    page: File,
    directory: File,
    socket: String,
    shown: String,
}

impl Control {
    fn open(process: &Process, path: &Path) -> Result<Control, String> {
        let outside = |path: &Path| {
            let inner = path.strip_prefix("/").unwrap_or(path);
            process.proc("root").join(inner)
        };
        let shown = process.shown();
        let failed = |error: io::Error| format!("the control of {shown} cannot be opened: {error}");
        let page = File::options()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(outside(path))
            .map_err(failed)?;
        let about = page.metadata().map_err(failed)?;
        if !about.is_file() || (about.uid() != process.user && about.uid() != 0) {
            return Err(format!("{} is not a shared page of {shown}", path.display()));
        }
        let directory = path.parent().unwrap_or(Path::new("/"));
        let directory =
            File::options().read(true).custom_flags(libc::O_PATH).open(outside(directory)).map_err(failed)?;
        let control = Control {
            page,
            directory,
            socket: format!("{}.socket", process.inner_pid),
            shown: shown.clone(),
        };
        control.check(process)?;
        Ok(control)
    }

    /// Whether the page is one that this command reads, and the process's own.
    fn check(&self, process: &Process) -> Result<(), String> {
        let mut words = [0u64; live::FIGURES];
        self.read_words(0, &mut words)
            .map_err(|_| format!("the shared page of {} is too short", self.shown))?;
        if words[word::MAGIC] != live::MAGIC {
            return Err(format!("the control of {} is just being opened; try again", self.shown));
        }
        if words[word::LAYOUT] != live::LAYOUT {
            return Err(format!(
                "{} runs on Freestone {}, whose shared page has layout {}; this command reads layout {}. Use the command of \
                 the same version",
                self.shown,
                version(words[word::LIBRARY]),
                words[word::LAYOUT],
                live::LAYOUT
            ));
        }
        if words[word::PROCESS] != u64::from(process.inner_pid) || words[word::START] != process.started {
            return Err(format!("the shared page of {} was left behind by another process", self.shown));
        }
        Ok(())
    }

    fn read_words(&self, from: usize, into: &mut [u64]) -> io::Result<()> {
        let mut bytes = vec![0; into.len() * 8];
        self.page.read_exact_at(&mut bytes, from as u64 * 8)?;
        for (word, bytes) in into.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
        }
        Ok(())
    }

    /// The figures of one moment.
    pub fn read(&self) -> Result<Figures, String> {
        let sequence = || {
            let mut number = [0];
            self.read_words(word::SEQUENCE, &mut number).map(|()| number[0])
        };
        let mut words = vec![0; live::WORDS];
        for _ in 0..200 {
            let consistent = (|| {
                let before = sequence()?;
                self.read_words(0, &mut words)?;
                Ok::<bool, io::Error>(before.is_multiple_of(2) && sequence()? == before)
            })();
            match consistent {
                Ok(true) => return Ok(Figures { words }),
                Ok(false) => std::thread::sleep(Duration::from_millis(1)),
                Err(error) => {
                    return Err(format!("the shared page of {} cannot be read: {error}", self.shown));
                }
            }
        }
        Err(format!(
            "the shared page of {} is being written all the time; was the process stopped?",
            self.shown
        ))
    }

    /// Sends a command and waits for the answer; the error is the process's own message, or ours.
    pub fn ask(&self, request: &str) -> Result<String, String> {
        self.ask_within(request, PATIENCE)
    }

    /// The same, waiting no longer than said for anything to arrive.
    pub fn ask_within(&self, request: &str, patience: Duration) -> Result<String, String> {
        if request.contains('\n') {
            return Err("a command is one line".into());
        }
        let unanswered = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                format!("{} did not answer within {} s; is it stopped?", self.shown, patience.as_secs())
            }
            _ => format!("{} did not answer: {error}", self.shown),
        };
        // By way of the directory, since the path of a socket must be short.
        let path = format!("/proc/self/fd/{}/{}", self.directory.as_raw_fd(), self.socket);
        let mut stream = UnixStream::connect(path).map_err(unanswered)?;
        stream.set_read_timeout(Some(patience)).map_err(unanswered)?;
        stream.set_write_timeout(Some(patience)).map_err(unanswered)?;
        stream.write_all(format!("{request}\n").as_bytes()).map_err(unanswered)?;
        let mut reply = Vec::new();
        stream.take(LONGEST).read_to_end(&mut reply).map_err(unanswered)?;
        understood(&reply).unwrap_or_else(|| Err(format!("{} gave half an answer", self.shown)))
    }
}

/// An answer: `ok LENGTH` or `error LENGTH` on a line, then so many bytes. `None` when it is none, or not whole.
fn understood(reply: &[u8]) -> Option<Result<String, String>> {
    let end = reply.iter().position(|&byte| byte == b'\n')?;
    let (kind, length) = std::str::from_utf8(&reply[..end]).ok()?.split_once(' ')?;
    let body = &reply[end + 1..];
    if length.parse() != Ok(body.len()) {
        return None;
    }
    let body = String::from_utf8_lossy(body).into_owned();
    match kind {
        "ok" => Some(Ok(body)),
        "error" => Some(Err(body.trim_end().into())),
        _ => None,
    }
}

/// `1.2.3`, from 16 bits a part.
fn version(packed: u64) -> String {
    format!("{}.{}.{}", packed >> 32 & 0xffff, packed >> 16 & 0xffff, packed & 0xffff)
}

/// What a shared page said at one moment.
pub struct Figures {
    words: Vec<u64>,
}

impl Figures {
    /// A figure of the process.
    pub fn get(&self, figure: Figure) -> u64 {
        self.words[live::figure(figure)]
    }

    /// When the page was made, on the clock of [`Figure::Updated`].
    pub fn opened_ns(&self) -> u64 {
        self.words[word::OPENED]
    }

    /// What a cache belongs to.
    pub fn cache(&self) -> &'static str {
        match self.words[word::CACHE] {
            1 => "cpu",
            2 => "thread",
            _ => "none",
        }
    }

    /// The version of the library.
    pub fn library(&self) -> String {
        version(self.words[word::LIBRARY])
    }

    /// The size classes in use: their figures in the order of [`ClassFigure::ALL`].
    pub fn classes(&self) -> impl Iterator<Item = &[u64]> {
        let count = (self.words[live::CLASSES] as usize).min(live::MOST_CLASSES);
        (0..count).map(|place| &self.words[live::class(place)..][..ClassFigure::ALL.len()])
    }

    /// Samples of (resident, live) at equal distances since the page was made.
    pub fn history(&self) -> Vec<(u64, u64)> {
        let count = (self.words[live::HISTORY] as usize).min(live::SAMPLES);
        let pairs = self.words[live::HISTORY + 2..][..2 * count].chunks_exact(2);
        pairs.map(|pair| (pair[0], pair[1])).collect()
    }
}

/// The processes whose control this user may use, by number.
pub fn all() -> Vec<(Process, Control)> {
    let mut found: Vec<_> = numbers()
        .filter_map(|pid| {
            let process = Process::find(pid).ok()?;
            match process.presence() {
                Ok(Presence::Open(control)) => Some((process, control)),
                _ => None,
            }
        })
        .collect();
    found.sort_by_key(|(process, _)| process.pid);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_that_cannot_be_looked_at_say_why() {
        assert_eq!(Process::find(u32::MAX).unwrap_err(), format!("there is no process {}", u32::MAX));
        let own = Process::find(std::process::id()).unwrap();
        assert!(own.is_alive() && own.threads >= 1);
        let message = own.control().err().unwrap();
        assert!(
            message.contains("no sign of Freestone") && message.contains("freestone run --control"),
            "{message}"
        );
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let ended = loop {
            match Process::find(child.id()) {
                Err(message) => break message,
                Ok(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        assert!(ended.contains("has ended"), "{ended}");
        child.wait().unwrap();
        let thread = std::thread::spawn(|| {
            let link = fs::read_link("/proc/thread-self").unwrap();
            link.file_name().unwrap().to_str().unwrap().parse::<u32>().unwrap()
        });
        // The thread may be gone before it is looked at; then there is no such number.
        let message = Process::find(thread.join().unwrap()).unwrap_err();
        assert!(message.contains("is a thread of") || message.contains("there is no"), "{message}");
    }

    #[test]
    fn the_page_is_found_among_the_mappings() {
        let process = Process { pid: 900, name: "x".into(), threads: 1, user: 0, inner_pid: 7, started: 0 };
        let line =
            |flags: &str, path: &str| format!("7f00-7f01 {flags} 00000000 08:01 12                 {path}\n");
        let own = line("rw-s", "/run/user/1 2/freestone/7.page");
        let maps = line("r--p", "/lib/libc.so") + &line("rw-p", "/tmp/freestone-0/7.page") + &own;
        assert_eq!(process.page_among(&maps), Some("/run/user/1 2/freestone/7.page"));
        assert_eq!(process.page_among(&line("rw-s", "/tmp/freestone-0/17.page")), None);
        let deleted = line("rw-s", "/tmp/freestone-0/7.page (deleted)");
        assert!(process.page_among(&deleted).unwrap().ends_with("(deleted)"));
        assert_eq!(process.page_among("7f00-7f01 rw-p 0 00:00 0\n"), None);
    }

    /// The control of a process as a file says it.
    fn control(header: &[(usize, u64)]) -> Result<(), String> {
        let mut bytes = vec![0; live::WORDS * 8];
        for &(place, value) in header {
            bytes[8 * place..][..8].copy_from_slice(&value.to_ne_bytes());
        }
        let path = std::env::temp_dir().join(format!("freestone-attach-{}", std::process::id()));
        fs::write(&path, bytes).unwrap();
        let process = Process::find(std::process::id()).unwrap();
        let (page, directory) = (File::open(&path).unwrap(), File::open("/tmp").unwrap());
        fs::remove_file(path).unwrap();
        Control { page, directory, socket: "none".into(), shown: "x (7)".into() }.check(&process)
    }

    #[test]
    fn pages_of_others_and_of_other_versions_are_refused() {
        let started = started(std::process::id()).unwrap();
        let own = u64::from(std::process::id());
        let right = [
            (word::MAGIC, live::MAGIC),
            (word::LAYOUT, live::LAYOUT),
            (word::PROCESS, own),
            (word::START, started),
            (word::LIBRARY, 1 << 32 | 2 << 16 | 3),
        ];
        let with = |place, value| control(&[&right[..], &[(place, value)]].concat());
        assert_eq!(control(&right), Ok(()));
        assert!(with(word::MAGIC, 0).unwrap_err().contains("just being opened"));
        let other = with(word::LAYOUT, live::LAYOUT + 1).unwrap_err();
        assert!(other.contains("Freestone 1.2.3") && other.contains("the same version"), "{other}");
        assert!(with(word::START, started + 1).unwrap_err().contains("left behind"));
    }

    #[test]
    fn only_whole_answers_are_understood() {
        assert_eq!(understood(b"ok 5\npong\n"), Some(Ok("pong\n".into())));
        assert_eq!(understood(b"error 3\nno\n"), Some(Err("no".into())));
        for half in [&b""[..], b"ok 5", b"ok 5\npo", b"ok\npong", b"what 2\nis"] {
            assert_eq!(understood(half), None, "{half:?}");
        }
    }
}

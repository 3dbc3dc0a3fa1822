//! `freestone ctl`: gives a command to a running process.

use std::process::ExitCode;

use crate::attach::{self, Process};
use crate::{complain, print};

/// The options of `freestone ctl`.
#[derive(Debug, PartialEq, Eq)]
pub enum CtlOptions {
    /// Show which processes can be reached.
    List,
    /// Send a process a command; an empty one asks what there is.
    Ask { pid: u32, request: String },
}

/// The process did not do it, or could not be reached.
const FAILED: u8 = 1;

/// Understands `[PID [COMMAND…]]`.
pub fn options(words: &[String]) -> Result<CtlOptions, String> {
    let Some((pid, command)) = words.split_first() else { return Ok(CtlOptions::List) };
    let pid = pid.parse().map_err(|_| {
        format!("'{pid}' is no number of a process. Say `freestone ctl PID COMMAND`; `freestone ctl` lists processes")
    })?;
    let request = if command.is_empty() { "help".into() } else { command.join(" ") };
    Ok(CtlOptions::Ask { pid, request })
}

/// Does it.
pub fn run(options: &CtlOptions) -> ExitCode {
    match options {
        CtlOptions::List => {
            print(&list());
            match stale::sweep() {
                0 => {}
                1 => complain("removed what a process that is gone had left behind"),
                many => complain(&format!("removed what {many} processes that are gone had left behind")),
            }
            ExitCode::SUCCESS
        }
        CtlOptions::Ask { pid, request } => {
            match Process::meant(*pid).and_then(|process| process.control()?.ask(request)) {
                Ok(answer) => {
                    print(&answer);
                    ExitCode::SUCCESS
                }
                Err(message) => {
                    complain(&message);
                    ExitCode::from(FAILED)
                }
            }
        }
    }
}

fn list() -> String {
    let found = attach::all();
    if found.is_empty() {
        return format!("No process that you may look into has its control open.{}.\n", attach::HOW);
    }
    let width = found.iter().map(|(process, _)| process.pid.to_string().len()).max().unwrap_or(0);
    found.iter().map(|(process, _)| format!("{:>width$}  {}\n", process.pid, process.name)).collect()
}

/// Files that killed processes could not remove.
mod stale {
    use std::fs;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
    use std::os::unix::net::UnixStream;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    /// So old a socket is listened to, if it ever will be.
    const OLD: Duration = Duration::from_secs(10);

    /// Removes them from this user's directories; how many processes they were of.
    pub fn sweep() -> usize {
        let user = fs::metadata("/proc/self").map_or(u32::MAX, |about| about.uid());
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(|path| PathBuf::from(path).join("freestone"));
        let directories = [Some(PathBuf::from(format!("/tmp/freestone-{user}"))), runtime];
        let owned = |path: &PathBuf| {
            fs::symlink_metadata(path).is_ok_and(|about| about.is_dir() && about.uid() == user)
        };
        directories.into_iter().flatten().filter(owned).map(|path| sweep_directory(&path, OLD)).sum()
    }

    /// A process may live in another container, where it has another number: what counts is whether its socket is served.
    pub fn sweep_directory(path: &Path, old: Duration) -> usize {
        let Ok(directory) = fs::File::options().read(true).custom_flags(libc::O_PATH).open(path) else {
            return 0;
        };
        let Ok(entries) = fs::read_dir(path) else { return 0 };
        let is_stale = |socket: &PathBuf| {
            let age = fs::metadata(socket)
                .and_then(|about| about.modified())
                .ok()
                .and_then(|time| time.elapsed().ok());
            // By way of the directory, since the path of a socket must be short.
            let name = socket.file_name().map(Path::new).unwrap_or(Path::new(""));
            let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
            let refused = UnixStream::connect(short)
                .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused);
            refused && age.is_some_and(|age| age >= old)
        };
        let sockets = entries.flatten().map(|entry| entry.path());
        let stale =
            sockets.filter(|path| path.extension().is_some_and(|kind| kind == "socket")).filter(is_stale);
        stale
            .map(|socket| {
                let _ = fs::remove_file(socket.with_extension("page"));
                let _ = fs::remove_file(socket);
            })
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_serves_is_swept_away() {
        use std::os::unix::net::UnixListener;
        use std::time::Duration;
        let scratch = std::env::temp_dir().join(format!("freestone-sweep-{}", std::process::id()));
        std::fs::create_dir(&scratch).unwrap();
        let served = UnixListener::bind(scratch.join("1.socket")).unwrap();
        drop(UnixListener::bind(scratch.join("2.socket")).unwrap());
        for name in ["1.page", "2.page", "note"] {
            std::fs::write(scratch.join(name), "").unwrap();
        }
        assert_eq!(stale::sweep_directory(&scratch, Duration::from_secs(60)), 0, "too young");
        assert_eq!(stale::sweep_directory(&scratch, Duration::ZERO), 1);
        let mut left: Vec<_> =
            std::fs::read_dir(&scratch).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["1.page", "1.socket", "note"]);
        drop(served);
        std::fs::remove_dir_all(scratch).unwrap();
    }

    #[test]
    fn words_become_a_request() {
        let parsed = |line: &str| options(&line.split_whitespace().map(String::from).collect::<Vec<_>>());
        let ask = |pid, request: &str| Ok(CtlOptions::Ask { pid, request: request.into() });
        assert_eq!(parsed(""), Ok(CtlOptions::List));
        assert_eq!(parsed("12"), ask(12, "help"));
        assert_eq!(parsed("12 set check=1"), ask(12, "set check=1"));
        assert!(parsed("redis release").unwrap_err().contains("'redis' is no number of a process"));
    }
}

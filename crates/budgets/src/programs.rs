//! The programs that are counted in: release builds, made when they are first asked for.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::subject;
use crate::table::Subject;

/// The subjects and the library.
pub struct Programs {
    folder: PathBuf,
    library: PathBuf,
    /// Further options of the library, each after a comma.
    further: String,
}

impl Programs {
    /// Builds them, below `target`: in a folder of their own, since the `cargo` that runs a test may hold the lock of the usual
    /// one. The library is the one that `FREESTONE_LIB` names, if it names one.
    pub fn build(target: &Path) -> Result<Programs, String> {
        let named = std::env::var_os("FREESTONE_LIB").filter(|path| !path.is_empty());
        let target = target.join("budgets");
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "--release", "--quiet", "--bins", "--lib", "-p", "freestone-budgets"]);
        if named.is_none() {
            build.args(["-p", "freestone-malloc"]);
        }
        build.arg("--target-dir").arg(&target).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
        let output = build.output().map_err(|error| format!("cargo did not start: {error}"))?;
        if !output.status.success() {
            return Err(format!("the release build failed:\n{}", String::from_utf8_lossy(&output.stderr)));
        }
        let folder = target.join("release");
        let library = named.map_or_else(|| folder.join("libfreestone_malloc.so"), PathBuf::from);
        let library = library.canonicalize().map_err(|error| format!("{}: {error}", library.display()))?;
        Ok(Programs { folder, library, further: String::new() })
    }

    /// The same with further options of the library.
    pub fn under(mut self, further: &str) -> Programs {
        self.further = format!("{},{further}", self.further);
        self
    }

    /// The command that starts a subject.
    pub fn command(&self, subject: Subject) -> Command {
        let (name, cache) = match subject {
            Subject::C => ("budgets-subject-c", "cpu"),
            Subject::Thread => ("budgets-subject-c", "thread"),
            Subject::Rust => ("budgets-subject-rust", "cpu"),
        };
        let mut command = Command::new(self.folder.join(name));
        command.env("FREESTONE_CONF", format!("cache:{cache}{}", self.further)).env_remove("LD_PRELOAD");
        if subject != Subject::Rust {
            command.env("LD_PRELOAD", &self.library);
        }
        command
    }

    /// How many KiB of the library's code are resident in a small program that did a bit of everything; or why that cannot be told. The library is
    /// copied page by page: the pages of files that were written at a stretch the kernel may map many at a time.
    pub fn resident_code(&self) -> Result<Result<usize, String>, String> {
        let copy = self.folder.join("copy-of-libfreestone_malloc.so");
        let failed = |error: std::io::Error| format!("{}: {error}", copy.display());
        let mut file = std::fs::File::create(&copy).map_err(failed)?;
        let library = std::fs::read(&self.library).map_err(failed)?;
        library.chunks(4096).try_for_each(|page| file.write_all(page)).map_err(failed)?;
        drop(file);
        let mut command = self.command(Subject::C);
        let output = command.env("LD_PRELOAD", &copy).env_remove("FREESTONE_CONF").arg("--code").output();
        let output = output.map_err(|error| format!("{command:?}: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.code() == Some(subject::CANNOT.into()) {
            return Ok(Err(said));
        }
        let kib = String::from_utf8_lossy(&output.stdout).trim().parse();
        kib.map(Ok).map_err(|_| format!("{command:?} told no figure: {said}"))
    }

    /// The names of a subject's cases.
    pub fn cases(&self, subject: Subject) -> Result<Vec<String>, String> {
        let mut command = self.command(subject);
        let output = command.arg("--list").output().map_err(|error| format!("{command:?}: {error}"))?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }
}

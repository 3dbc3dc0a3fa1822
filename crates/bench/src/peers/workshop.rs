//! Building the peers of the workspace `peers/`.
//!
//! Each form of each peer is a package, and each is built by a Cargo of its own: the features of one peer must not reach
//! another (both mimallocs are one crate), and one that fails must not take the others along. What came out is copied
//! into one folder, where it is found again without building.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use serde_json::Value;

use super::{Build, lock};

/// The workspace and the folder that it is built into.
#[derive(Clone, Debug)]
pub struct Workshop {
    workspace: PathBuf,
    target: PathBuf,
}

impl Workshop {
    /// The workspace in the folder `workspace`, built into the folder `target`.
    pub fn new(workspace: PathBuf, target: PathBuf) -> Workshop {
        Workshop { workspace, target }
    }

    /// The workspace beside this package, in its own target folder or the one that the environment gives.
    pub fn of_this_repository() -> Workshop {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../peers");
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => PathBuf::from(folder).join("peers"),
            None => workspace.join("target"),
        };
        Workshop::new(workspace, target)
    }

    /// Where the workspace lies.
    pub fn workspace(&self) -> &Path {
        &self.workspace
    }

    /// The library to preload of the peer in `folder`, or why there is none.
    pub fn preload(
        &self,
        folder: &str,
        build: Build,
        progress: &mut dyn FnMut(&str),
    ) -> Result<PathBuf, String> {
        let library = format!("libpeer_{}.so", folder.replace('-', "_"));
        let found = self.made(&format!("peer-preload-{folder}"), &library, build, progress)?;
        Ok(found)
    }

    /// The program of the peer in `folder`, or why there is none.
    pub fn program(
        &self,
        folder: &str,
        build: Build,
        progress: &mut dyn FnMut(&str),
    ) -> Result<PathBuf, String> {
        let program = format!("peer-rust-{folder}");
        self.made(&program, &program, build, progress)
    }

    /// The version of the peer in `folder`: the allocator's own if its build has found it out, and that of the crate
    /// `source`.
    pub fn version(&self, folder: &str, source: &str) -> String {
        let lock = fs::read_to_string(self.workspace.join("Cargo.lock")).unwrap_or_default();
        let locked = match lock::version(&lock, source) {
            Some(version) => format!("{source} {version}"),
            None => "not locked".to_owned(),
        };
        match fs::read_to_string(self.finished().join(format!("peer-preload-{folder}.version"))) {
            Ok(own) => format!("{} ({locked})", own.trim()),
            Err(_) => locked,
        }
    }

    /// The folder of the finished libraries and programs.
    fn finished(&self) -> PathBuf {
        self.target.join("finished")
    }

    /// The file `name` that `package` makes.
    fn made(
        &self,
        package: &str,
        name: &str,
        build: Build,
        progress: &mut dyn FnMut(&str),
    ) -> Result<PathBuf, String> {
        let finished = self.finished().join(name);
        if build == Build::Never {
            return if finished.is_file() { Ok(finished) } else { Err("not built yet".into()) };
        }
        progress(package);
        let messages = self.cargo(package)?;
        let files = artefacts(&messages);
        let file = files.iter().find(|path| path.file_name().is_some_and(|file| file == name));
        let file = file.ok_or_else(|| format!("{package} made no {name}"))?;
        let copy = |from: &Path, to: &Path| {
            // A new file, since a measurement may be running on the old one.
            let fresh = to.with_extension("new");
            fs::copy(from, &fresh).and_then(|_| fs::rename(&fresh, to)).map_err(|error| failed(to, &error))
        };
        fs::create_dir_all(self.finished()).map_err(|error| failed(&self.finished(), &error))?;
        copy(file, &finished)?;
        let version = file.with_file_name("version");
        if version.is_file() {
            copy(&version, &self.finished().join(format!("{package}.version")))?;
        }
        Ok(finished)
    }

    /// Builds one package and returns Cargo's messages, or what Cargo said last.
    fn cargo(&self, package: &str) -> Result<String, String> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--release", "--message-format=json-render-diagnostics"]);
        cargo.arg("--manifest-path").arg(self.workspace.join("Cargo.toml"));
        cargo.arg("--target-dir").arg(&self.target).args(["--package", package]);
        let output = cargo.output().map_err(|error| format!("cargo: {error}"))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(reason(&String::from_utf8_lossy(&output.stderr)))
        }
    }
}

fn failed(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// The files that Cargo's messages name: those of its own making, and those in the folders of build scripts.
fn artefacts(messages: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for message in messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        match message["reason"].as_str() {
            Some("compiler-artifact") => {
                let named = message["filenames"].as_array().into_iter().flatten();
                files.extend(named.filter_map(Value::as_str).map(PathBuf::from));
                files.extend(message["executable"].as_str().map(PathBuf::from));
            }
            Some("build-script-executed") => {
                let folder = message["out_dir"].as_str().map(fs::read_dir);
                let entries = folder.into_iter().flatten().flatten().flatten();
                files.extend(entries.map(|entry| entry.path()));
            }
            _ => {}
        }
    }
    files
}

/// The part of Cargo's messages that says why it failed: from the first error on, a few lines.
fn reason(messages: &str) -> String {
    let lines: Vec<_> = messages.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let panic = lines.iter().position(|line| line.contains("panicked at")).map(|at| at + 1);
    let error = lines.iter().position(|line| line.starts_with("error"));
    let from = panic.or(error).unwrap_or(lines.len().saturating_sub(4)).min(lines.len());
    lines[from..].iter().take(4).copied().collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artefacts_are_files_of_cargo_and_of_build_scripts() {
        let folder = std::env::temp_dir().join(format!("freestone-bench-workshop-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the temporary folder can be written");
        fs::write(folder.join("libpeer_x.so"), "").expect("the temporary folder can be written");
        let messages = format!(
            "{}\nnot JSON\n{}\n{}\n",
            r#"{"reason":"compiler-artifact","filenames":["/t/liba.so"],"executable":null}"#,
            r#"{"reason":"compiler-artifact","filenames":["/t/b"],"executable":"/t/b"}"#,
            serde_json::json!({"reason": "build-script-executed", "out_dir": folder}),
        );
        let files = artefacts(&messages);
        fs::remove_dir_all(&folder).expect("it was just made");
        assert!(files.contains(&"/t/liba.so".into()));
        assert!(files.contains(&"/t/b".into()));
        assert!(files.contains(&folder.join("libpeer_x.so")));
    }

    #[test]
    fn the_reason_is_the_build_scripts_message_or_the_first_error() {
        let script = "   Compiling x\nerror: failed to run custom build command\n\n--- stderr\n\
                      thread 'main' panicked at lib.rs:1:1:\n\"cmake\": No such file\nnote: run with\n";
        assert_eq!(reason(script), "\"cmake\": No such file; note: run with");
        assert_eq!(reason("   Compiling x\nerror: no such package\n"), "error: no such package");
        assert_eq!(reason("one\ntwo\nthree\nfour\nfive\n"), "two; three; four; five");
        assert_eq!(reason(""), "");
    }

    #[test]
    fn what_was_built_before_is_found_without_building() {
        let target = std::env::temp_dir().join(format!("freestone-bench-finished-{}", std::process::id()));
        fs::create_dir_all(target.join("finished")).expect("the temporary folder can be written");
        fs::write(target.join("finished/libpeer_a_b.so"), "").expect("the temporary folder can be written");
        fs::write(target.join("finished/peer-preload-a-b.version"), "1.2\n")
            .expect("the folder can be written");
        let workshop = Workshop::new("/nonexistent".into(), target.clone());
        let library = workshop.preload("a-b", Build::Never, &mut |_| ());
        let version = workshop.version("a-b", "crate");
        let program = workshop.program("a-b", Build::Never, &mut |_| ());
        fs::remove_dir_all(&target).expect("it was just made");
        assert_eq!(library, Ok(target.join("finished/libpeer_a_b.so")));
        assert_eq!(version, "1.2 (not locked)");
        assert_eq!(program, Err("not built yet".to_owned()));
    }
}

//! The programs of `cases/`: which faults they hold, and how they are compiled.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs, io};

/// One fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The function's name.
    pub name: String,
    /// What is done wrong, in a few words.
    pub words: String,
    /// Which of the programs holds it.
    pub program: usize,
}

/// One source file of `cases/`.
#[derive(Debug)]
pub struct Program {
    /// The file's name without its ending: the group that its faults belong to.
    pub name: String,
    source: PathBuf,
    built: OnceLock<Result<PathBuf, String>>,
}

/// All programs and faults.
#[derive(Debug)]
pub struct Suite {
    /// The programs, in the order of the table.
    pub programs: Vec<Program>,
    /// The faults, program by program, in the order of the sources.
    pub faults: Vec<Fault>,
    out: PathBuf,
}

/// The groups in the order of the table, and their titles.
pub const GROUPS: [(&str, &str); 7] = [
    ("overflow", "Outside a block"),
    ("after_free", "After the free, or before the first write"),
    ("double_free", "Freed twice"),
    ("invalid_free", "Freed or resized, but no block"),
    ("sizes", "Given back as something else"),
    ("techniques", "Techniques of exploitation"),
    ("leaks", "Left at the end"),
];

const FLAGS: [&str; 7] = [
    "-O1",
    "-g",
    "-Wall",
    // The calls themselves are the subject: none may be folded away.
    "-fno-builtin",
    "-fno-omit-frame-pointer",
    "-pthread",
    // Every warning here is about the very faults.
    "-w",
];

impl Suite {
    /// Reads the faults' names from the sources; programs are compiled into `out` when they are asked for.
    ///
    /// # Errors
    /// When a source cannot be read.
    pub fn scan(out: PathBuf) -> io::Result<Suite> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
        let (mut programs, mut faults) = (Vec::new(), Vec::new());
        for (program, (name, _)) in GROUPS.iter().enumerate() {
            let in_c = folder.join(format!("{name}.c"));
            let source = if in_c.is_file() { in_c } else { folder.join(format!("{name}.cc")) };
            let named = named(&fs::read_to_string(&source)?);
            faults.extend(named.into_iter().map(|(name, words)| Fault { name, words, program }));
            programs.push(Program { name: (*name).to_owned(), source, built: OnceLock::new() });
        }
        Ok(Suite { programs, faults, out })
    }

    /// Why the programs cannot be compiled here, if so.
    pub fn cannot_compile(&self) -> Option<String> {
        self.programs.iter().map(|program| compiler(&program.source)).find_map(|compiler| {
            let absent = Command::new(&compiler).arg("--version").output().is_err();
            absent.then(|| format!("no compiler {} here", compiler.display()))
        })
    }

    /// The compiled program; compiled again when its source or the header is newer.
    ///
    /// # Errors
    /// The compiler's words.
    pub fn executable(&self, program: usize) -> Result<&Path, String> {
        let program = &self.programs[program];
        let built = program.built.get_or_init(|| self.build(program));
        built.as_deref().map_err(Clone::clone)
    }

    /// Removes what was compiled.
    pub fn remove(&self) {
        // What is not there, or cannot be removed, is left to whoever clears the folder of temporary files.
        let _ = fs::remove_dir_all(&self.out);
    }

    fn build(&self, program: &Program) -> Result<PathBuf, String> {
        let failed = |error: io::Error| format!("{}: {error}", program.name);
        fs::create_dir_all(&self.out).map_err(failed)?;
        let output = self.out.join(&program.name);
        let modified = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified());
        let header = modified(&program.source.with_file_name("misuse.h")).map_err(failed)?;
        let newest = modified(&program.source).map_err(failed)?.max(header);
        if modified(&output).is_ok_and(|built| built > newest) {
            return Ok(output);
        }
        let is_cxx = program.source.extension().is_some_and(|extension| extension == "cc");
        let language: &[&str] = if is_cxx {
            &["-std=c++20", "-fno-allocation-dce", "-fno-lifetime-dse"]
        } else {
            &["-std=gnu2x"]
        };
        // Under another name first: whoever runs cases meanwhile never sees half a program.
        let partial = output.with_extension(format!("{}.partial", std::process::id()));
        let mut command = Command::new(compiler(&program.source));
        command.args(FLAGS).args(language).arg("-o").arg(&partial).arg(&program.source).arg("-ldl");
        let done = command.output().map_err(failed)?;
        if !done.status.success() {
            return Err(format!("{command:?}: {}\n{}", done.status, String::from_utf8_lossy(&done.stderr)));
        }
        fs::rename(&partial, &output).map_err(failed)?;
        Ok(output)
    }
}

fn compiler(source: &Path) -> PathBuf {
    let (variable, usual) = match source.extension() {
        Some(extension) if extension == "cc" => ("CXX", "c++"),
        _ => ("CC", "cc"),
    };
    env::var_os(variable).unwrap_or_else(|| OsString::from(usual)).into()
}

/// Names and descriptions in lines such as `FAULT(name, "words") {`.
fn named(source: &str) -> Vec<(String, String)> {
    let one = |line: &str| {
        let (name, rest) = line.strip_prefix("FAULT(")?.split_once(", \"")?;
        Some((name.to_owned(), rest.split_once("\")")?.0.to_owned()))
    };
    source.lines().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_found_in_a_source() {
        let source =
            "FAULT(a_b, \"done (twice)\") { x(); }\n#define FAULT(name, words)\n  FAULT(no, \"x\")\n";
        assert_eq!(named(source), [("a_b".to_owned(), "done (twice)".to_owned())]);
    }

    #[test]
    fn every_fault_has_a_name_of_its_own() {
        let suite = Suite::scan(env::temp_dir()).expect("the sources can be read");
        let mut names: Vec<_> = suite.faults.iter().map(|fault| &fault.name).collect();
        names.sort();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(all >= 100, "the suite has shrunk to {all} faults");
    }
}

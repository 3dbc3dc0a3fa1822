//! Finds the cases, compiles the programs, builds the library: each once, and only when asked for.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::{env, fs, io};

/// How a program and the library come together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Linkage {
    /// A usual dynamic program, the library in `LD_PRELOAD`.
    Preload,
    /// `-static`, with the library's archive.
    Static,
    /// `-static-pie`, with the library's archive.
    StaticPie,
}

/// One source file of `cases/`.
pub struct Program {
    pub name: String,
    pub cases: Vec<String>,
    source: PathBuf,
}

/// The library under test in its two forms.
pub struct Library {
    pub shared: PathBuf,
    archive: PathBuf,
}

type Once<T> = Arc<OnceLock<Result<T, String>>>;

/// All programs, and what has been built of them.
pub struct Suite {
    pub programs: Vec<Program>,
    plugins: Vec<PathBuf>,
    newest_header: std::time::SystemTime,
    out: PathBuf,
    library: OnceLock<Result<Library, String>>,
    built_plugins: OnceLock<Result<(), String>>,
    executables: Mutex<HashMap<(usize, Linkage), Once<PathBuf>>>,
}

const COMMON_FLAGS: [&str; 9] = [
    "-O2",
    "-g",
    "-Wall",
    "-Wextra",
    // The calls themselves are under test: none may be folded away.
    "-fno-builtin",
    "-pthread",
    "-Wno-alloc-size-larger-than",
    "-Wno-use-after-free",
    "-Wno-free-nonheap-object",
];

impl Suite {
    /// Reads the names of all cases from the sources.
    pub fn scan() -> io::Result<Suite> {
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
        let mut programs = Vec::new();
        for source in sources(&cases)? {
            let name = stem(&source);
            programs.push(Program { name, cases: case_names(&fs::read_to_string(&source)?), source });
        }
        Ok(Suite {
            programs,
            plugins: sources(&cases.join("plugins"))?,
            newest_header: fs::metadata(cases.join("conformance.h"))?.modified()?,
            out: Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance"),
            library: OnceLock::new(),
            built_plugins: OnceLock::new(),
            executables: Mutex::new(HashMap::new()),
        })
    }

    /// Why the program cannot be compiled on this machine, if so.
    pub fn cannot_compile(&self, program: usize) -> Option<String> {
        let compiler = compiler(&self.programs[program].source);
        let found = Command::new(&compiler).arg("--version").output().is_ok();
        (!found).then(|| format!("no compiler {} here", compiler.display()))
    }

    /// The library: `FREESTONE_LIB` if that is set, else built now.
    pub fn library(&self) -> Result<&Library, String> {
        self.library.get_or_init(|| self.find_library()).as_ref().map_err(String::clone)
    }

    fn find_library(&self) -> Result<Library, String> {
        if let Some(shared) = env::var_os("FREESTONE_LIB") {
            let shared = fs::canonicalize(&shared).map_err(|error| format!("FREESTONE_LIB: {error}"))?;
            let archive = shared.with_extension("a");
            return Ok(Library { shared, archive });
        }
        // A directory of its own: the outer cargo may hold the lock of the usual one.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("conformance-library");
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--release", "-p", "freestone-malloc", "--target-dir"]).arg(&target);
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        succeed(&mut build)?;
        let release = target.join("release");
        let shared = release.join("libfreestone_malloc.so");
        if !shared.exists() {
            return Err("freestone-malloc builds no libfreestone_malloc.so (crate type cdylib)".into());
        }
        Ok(Library { shared, archive: release.join("libfreestone_malloc.a") })
    }

    /// The compiled program; compiled again when its source or the header is newer.
    pub fn executable(&self, program: usize, linkage: Linkage) -> Result<PathBuf, String> {
        self.built_plugins.get_or_init(|| self.build_plugins()).as_ref().map_err(String::clone)?;
        let once = {
            let mut executables = self.executables.lock().map_err(|_| "a build panicked")?;
            Arc::clone(executables.entry((program, linkage)).or_default())
        };
        once.get_or_init(|| self.build_program(&self.programs[program], linkage)).clone()
    }

    fn build_program(&self, program: &Program, linkage: Linkage) -> Result<PathBuf, String> {
        let suffix = match linkage {
            Linkage::Preload => "",
            Linkage::Static => "-static",
            Linkage::StaticPie => "-static-pie",
        };
        let output = self.out.join(format!("{}{suffix}", program.name));
        let mut flags: Vec<OsString> = Vec::new();
        let mut tail: Vec<OsString> = vec!["-ldl".into()];
        if linkage != Linkage::Preload {
            let archive = &self.library()?.archive;
            if !archive.exists() {
                return Err(format!("no archive {} (crate type staticlib)", archive.display()));
            }
            flags.extend([suffix.into(), "-DCONFORMANCE_STATIC".into()]);
            tail.insert(0, archive.into());
        }
        self.compile(&program.source, &output, &flags, &tail)?;
        Ok(output)
    }

    fn build_plugins(&self) -> Result<(), String> {
        fs::create_dir_all(&self.out).map_err(|error| error.to_string())?;
        for source in &self.plugins {
            let output = self.out.join(format!("{}.so", stem(source)));
            self.compile(source, &output, &["-shared".into(), "-fPIC".into()], &[])?;
        }
        Ok(())
    }

    fn compile(
        &self,
        source: &Path,
        output: &Path,
        flags: &[OsString],
        tail: &[OsString],
    ) -> Result<(), String> {
        let modified = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified());
        let mut newest = modified(source).map_err(|error| error.to_string())?.max(self.newest_header);
        for input in tail {
            // The library's archive; what is no file is a flag.
            newest = modified(Path::new(input)).map_or(newest, |built| built.max(newest));
        }
        if modified(output).is_ok_and(|built| built > newest) {
            return Ok(());
        }
        let is_cxx = source.extension().is_some_and(|extension| extension == "cc");
        let language: &[&str] = if is_cxx {
            &["-std=c++20", "-fno-allocation-dce", "-fno-lifetime-dse"]
        } else {
            &["-std=gnu2x"]
        };
        // Under another name first: processes that run cases at once never see half a program.
        let partial = output.with_extension(format!("{}.partial", std::process::id()));
        let mut command = Command::new(compiler(source));
        command.args(COMMON_FLAGS).args(language).args(flags);
        command.arg("-o").arg(&partial).arg(source).args(tail);
        succeed(&mut command)?;
        fs::rename(&partial, output).map_err(|error| error.to_string())
    }
}

fn compiler(source: &Path) -> PathBuf {
    let (variable, usual) = match source.extension() {
        Some(extension) if extension == "cc" => ("CXX", "c++"),
        _ => ("CC", "cc"),
    };
    env::var_os(variable).unwrap_or_else(|| usual.into()).into()
}

fn sources(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "c" || extension == "cc") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The names in lines such as `CASE(name) {`.
fn case_names(source: &str) -> Vec<String> {
    let name = |line: &str| {
        let rest = line.strip_prefix("CASE(").or_else(|| line.strip_prefix("CASE_FREESTONE("))?;
        Some(rest.split_once(')')?.0.to_owned())
    };
    source.lines().filter_map(name).collect()
}

fn succeed(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

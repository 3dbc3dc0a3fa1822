//! What the build scripts of the preloadable peers share: where a crate's C or C++ source lies, running the tools, and
//! handing over the finished library.
//!
//! The sources are those inside the crates that the Rust programs of this workspace link, at the versions of the lock
//! file; so both forms of a peer are the same version of it. The library is built the way the peer's own build makes
//! its shared library: Cargo cannot do that, since it hides every C symbol of a `cdylib`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// What a program expects of an allocator that is preloaded under it.
const ENTRY_POINTS: [&str; 8] = [
    "malloc",
    "free",
    "calloc",
    "realloc",
    "posix_memalign",
    "aligned_alloc",
    "memalign",
    "malloc_usable_size",
];

/// The folder of this build script's outputs.
pub fn out_dir() -> PathBuf {
    PathBuf::from(env::var_os("OUT_DIR").expect("build scripts run under Cargo"))
}

/// A package of the lock file that some program of the workspace depends on.
pub struct Package {
    pub version: String,
    pub root: PathBuf,
}

impl Package {
    /// Finds the package `name`, and has the build script run again when its version changes.
    pub fn find(name: &str) -> Package {
        let workspace = Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("build scripts run under Cargo"))
            .join("../../Cargo.toml");
        println!("cargo::rerun-if-changed=build.rs");
        println!("cargo::rerun-if-changed={}", workspace.with_file_name("Cargo.lock").display());
        let mut metadata = Command::new(env::var_os("CARGO").expect("build scripts run under Cargo"));
        metadata.args(["metadata", "--format-version=1", "--manifest-path"]).arg(&workspace);
        let text = output(&mut metadata);
        let all: serde_json::Value = serde_json::from_str(&text).expect("cargo metadata prints JSON");
        let package = all["packages"]
            .as_array()
            .and_then(|packages| packages.iter().find(|package| package["name"] == name))
            .unwrap_or_else(|| panic!("no program of the workspace depends on {name}"));
        let field = |key: &str| package[key].as_str().expect("every package has it").to_owned();
        let manifest = PathBuf::from(field("manifest_path"));
        Package {
            version: field("version"),
            root: manifest.parent().expect("a manifest lies in a folder").to_owned(),
        }
    }

    /// A copy of the package's folder `part` among the outputs, for builds that write into their source tree.
    pub fn copy(&self, part: &str) -> PathBuf {
        let to = out_dir().join("source");
        if to.exists() {
            fs::remove_dir_all(&to).unwrap_or_else(|error| panic!("{}: {error}", to.display()));
        }
        copy_tree(&self.root.join(part), &to).unwrap_or_else(|error| panic!("{}: {error}", to.display()));
        to
    }
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// How many jobs Cargo allows.
pub fn jobs() -> String {
    env::var("NUM_JOBS").unwrap_or_else(|_| "1".to_owned())
}

/// Runs `command` and returns what it printed; ends the build with its messages if it fails.
pub fn output(command: &mut Command) -> String {
    // Cargo's make server belongs to Cargo's own children; ours get a number of jobs instead.
    command.env_remove("MAKEFLAGS").env_remove("MFLAGS").env_remove("CARGO_MAKEFLAGS");
    let shown = format!("{command:?}");
    let done = command.output().unwrap_or_else(|error| panic!("{shown}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    if !done.status.success() {
        panic!("{shown}: {}\n{out}\n{err}", done.status);
    }
    out.into_owned()
}

/// Links the whole of a static library into `libpeer_NAME.so`; `linker` is the compiler that links.
pub fn link(linker: &Path, archive: &Path, name: &str, further: &[&str]) {
    let library = out_dir().join(file_name(name));
    let mut link = Command::new(linker);
    link.args(["-shared", "-pthread", "-o"]).arg(&library);
    link.arg(format!("-Wl,-soname,{}", file_name(name)));
    link.arg("-Wl,--whole-archive").arg(archive).arg("-Wl,--no-whole-archive").args(further);
    output(&mut link);
    check(&library);
}

/// Hands over a library that the peer's own build has made.
pub fn hand_over(built: &Path, name: &str) {
    let library = out_dir().join(file_name(name));
    fs::copy(built, &library).unwrap_or_else(|error| panic!("{}: {error}", built.display()));
    check(&library);
}

/// Tells the allocator's own version, where the crate's is another.
pub fn tell_version(version: &str) {
    let file = out_dir().join("version");
    fs::write(&file, version).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

fn file_name(name: &str) -> String {
    format!("libpeer_{name}.so")
}

/// A library without one of the entry points would leave part of a program's calls to the C library, and the
/// measurement would say nothing.
fn check(library: &Path) {
    let mut nm = Command::new("nm");
    nm.args([OsStr::new("-D"), OsStr::new("--defined-only"), library.as_os_str()]);
    let symbols = output(&mut nm);
    let exported = |name: &str| symbols.lines().any(|line| line.split_whitespace().nth(2) == Some(name));
    for name in ENTRY_POINTS {
        assert!(exported(name), "{} does not export {name}", library.display());
    }
}

/// Builds mimalloc of the crate's folder `version` and hands it over under `name`. The crate compiles it as one file, as its
/// authors advise for overriding `malloc`; this does the same, with the definitions and flags that their CMake
/// build has for a shared library in release, and `further` definitions.
pub fn mimalloc(version: &str, name: &str, further: &[(&str, &str)]) {
    let source = Package::find("libmimalloc-sys").root.join("c_src/mimalloc").join(version);
    let header = fs::read_to_string(source.join("include/mimalloc.h")).expect("the crate has the header");
    tell_version(&mimalloc_version(&header).expect("the header has the version"));
    let mut build = cc::Build::new();
    build.cargo_metadata(false).cargo_warnings(false).warnings(false).pic(true).opt_level(3);
    build.include(source.join("include")).include(source.join("src")).file(source.join("src/static.c"));
    for name in ["MI_MALLOC_OVERRIDE", "MI_SHARED_LIB", "MI_SHARED_LIB_EXPORT", "MI_BUILD_RELEASE", "NDEBUG"]
    {
        build.define(name, None);
    }
    for (name, value) in further {
        build.define(name, *value);
    }
    build.flag("-fvisibility=hidden").flag("-ftls-model=initial-exec").flag("-fno-builtin-malloc");
    build.compile("mimalloc");
    link(build.get_compiler().path(), &out_dir().join("libmimalloc.a"), name, &[]);
}

/// The version in the header: major, and two digits each for minor and patch.
fn mimalloc_version(header: &str) -> Option<String> {
    let number = header.split("#define MI_MALLOC_VERSION").nth(1)?.split_whitespace().next()?;
    let number: u32 = number.parse().ok()?;
    Some(format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100))
}

/// Builds a target of snmalloc's own CMake files and hands it over under `name`.
pub fn snmalloc(target: &str, name: &str) {
    let source = Package::find("snmalloc-sys").root.join("upstream");
    let build = out_dir().join("build");
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(source).arg("-B").arg(&build);
    configure.args(["-DCMAKE_BUILD_TYPE=Release", "-DSNMALLOC_BUILD_TESTING=OFF"]);
    output(&mut configure);
    let mut compile = Command::new("cmake");
    compile.arg("--build").arg(&build).args(["--target", target, "-j", &jobs()]);
    output(&mut compile);
    hand_over(&build.join(format!("lib{target}.so")), name);
}

/// Builds hardened_malloc in the configuration of a file of the crate's, with the flags of its own makefile, and hands it over under
/// `name`.
pub fn hardened_malloc(configuration: &str, name: &str) {
    let package = Package::find("hardened-malloc-sys");
    let source = package.root.join("vendor/hardened-malloc");
    let text = fs::read_to_string(package.root.join(configuration)).expect("the crate has it");
    tell_version(&package.version);
    let common = |cpp: bool| {
        let mut build = cc::Build::new();
        build.cargo_metadata(false).cargo_warnings(false).warnings(false).pic(true).opt_level(3).cpp(cpp);
        build.include(source.join("include")).include(&source).include(source.join("third_party"));
        build.define("_GNU_SOURCE", None).flag("-fvisibility=hidden").flag("-fno-plt");
        build.flag(if cpp { "-std=c++17" } else { "-std=gnu2x" });
        if !cpp {
            // Words of C23 that older compilers know as macros.
            for header in ["stdalign.h", "stdbool.h", "assert.h"] {
                build.flag("-include").flag(header);
            }
        }
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            if let Some((key, value)) = line.split_once('=') {
                build.define(key.trim(), value.trim());
            }
        }
        build
    };
    let mut build = common(false);
    for file in ["chacha.c", "h_malloc.c", "memory.c", "pages.c", "random.c", "util.c"] {
        build.file(source.join(file));
    }
    let operators = common(true).file(source.join("new.cc")).compile_intermediates();
    build.objects(operators);
    build.compile("hardened_malloc");
    let archive = out_dir().join("libhardened_malloc.a");
    link(common(true).get_compiler().path(), &archive, name, &[]);
}

//! Who takes part, and where their libraries and programs are.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use freestone_bench::peers::{self, Build, Workshop};

use super::options::Options;
use crate::result::{Contestant, Interface, Role};

/// What tables call the library under test.
pub const FREESTONE: &str = "freestone";
/// The peer that is every system's own.
pub const GLIBC: &str = "glibc";
/// The same a second time: what the two differ by is noise.
pub const CONTROL: &str = "glibc again";

/// A contestant, ready to run.
#[derive(Clone, Debug)]
pub struct Runner {
    /// As results name it.
    pub contestant: Contestant,
    /// What is preloaded under a C program; nothing for the C library's own.
    pub preload: Option<PathBuf>,
    /// The workloads' program with it as global allocator.
    pub program: Option<PathBuf>,
    /// What it needs in the environment.
    pub environment: Vec<(String, String)>,
}

/// Everybody who takes part.
#[derive(Clone, Debug)]
pub struct Field {
    /// In the order of tables.
    pub runners: Vec<Runner>,
    /// The workloads' program through the C interface.
    pub bench_c: PathBuf,
}

impl Runner {
    /// Whether it takes part under `interface`.
    pub fn takes_part(&self, interface: Interface) -> bool {
        self.contestant.interfaces.contains(&interface)
    }
}

/// Finds, and builds where need be, everybody whom the options ask for. What goes on is told on stderr.
pub fn assemble(options: &Options) -> Result<Field, String> {
    let own = own_programs(options)?;
    let mut runners = Vec::new();
    let known: Vec<&str> = peers::names().chain(peers::secure()).chain([FREESTONE]).collect();
    let libraries = options.libraries.iter().map(|(name, _)| name.as_str());
    let added: Vec<&str> = libraries.chain(options.modes.iter().map(|(name, _)| name.as_str())).collect();
    let asked = options.peers.iter().flatten().chain(&options.without);
    if let Some(name) = asked.map(String::as_str).find(|name| !known.contains(name) && !added.contains(name))
    {
        return Err(format!("there is no allocator {name:?}; there are: {}", known.join(", ")));
    }
    if let Some(name) = added.iter().find(|name| known.contains(name)) {
        return Err(format!("the name {name:?} is taken"));
    }
    let left_out = |name: &str| options.without.iter().any(|one| one == name);
    let usual: Vec<&str> = peers::names().collect();
    for name in peers::names().chain(peers::secure()) {
        let chosen = match &options.peers {
            Some(chosen) => chosen.iter().any(|one| one == name),
            None => usual.contains(&name),
        };
        if chosen && !left_out(name) {
            add_peer(name, options, &own, &mut runners);
        }
    }
    if let Some(glibc) = runners.iter().find(|runner| runner.contestant.name == GLIBC) {
        let mut control = glibc.clone();
        control.contestant.name = CONTROL.into();
        control.contestant.role = Role::Control;
        runners.push(control);
    }
    if !left_out(FREESTONE) {
        runners.push(freestone(options, &own)?);
    }
    for (name, conf) in &options.modes {
        let mut mode = freestone(options, &own)?;
        mode.contestant.name.clone_from(name);
        mode.contestant.version = conf.clone();
        mode.environment = vec![("FREESTONE_CONF".into(), conf.clone())];
        runners.push(mode);
    }
    for (name, path) in &options.libraries {
        let preload = Some(existing(path)?);
        let program = None;
        runners.push(runner(name, Role::Subject, String::new(), preload, program, vec![Interface::C]));
    }
    for runner in &mut runners {
        runner.contestant.interfaces.retain(|interface| options.interfaces.contains(interface));
    }
    runners.retain(|runner| !runner.contestant.interfaces.is_empty());
    if runners.is_empty() {
        return Err("no allocator is left to measure".into());
    }
    Ok(Field { runners, bench_c: own.join("bench-c") })
}

fn runner(
    name: &str,
    role: Role,
    version: String,
    preload: Option<PathBuf>,
    program: Option<PathBuf>,
    interfaces: Vec<Interface>,
) -> Runner {
    let contestant = Contestant { name: name.into(), version, role, interfaces };
    Runner { contestant, preload, program, environment: Vec::new() }
}

fn add_peer(name: &str, options: &Options, own: &Path, runners: &mut Vec<Runner>) {
    let build = if options.build { Build::Needed } else { Build::Never };
    let mut told = |package: &str| eprintln!("building {package} (if it is not up to date)");
    let Some(peer) = peers::find(name, &Workshop::of_this_repository(), build, &mut told) else { return };
    let mut interfaces = Vec::new();
    let mut take = |interface, found: &Result<PathBuf, String>| match found {
        Ok(_) => interfaces.push(interface),
        Err(reason) if options.interfaces.contains(&interface) => {
            eprintln!("{name} takes no part under the {interface} interface: {reason}");
        }
        Err(_) => {}
    };
    // The C library's own is measured with nothing preloaded, as everybody runs it.
    let (preload, program) = match name {
        GLIBC => (Ok(None), Ok(own.join("bench-rust-system"))),
        _ => (peer.preload.map(Some), peer.program),
    };
    take(Interface::C, &preload.clone().map(Option::unwrap_or_default));
    take(Interface::Rust, &program);
    let (preload, program) = (preload.ok().flatten(), program.ok());
    let mut one = runner(name, Role::Peer, peer.version, preload, program, interfaces);
    one.environment =
        peer.environment.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    runners.push(one);
}

fn freestone(options: &Options, own: &Path) -> Result<Runner, String> {
    let library = match &options.freestone {
        Some(path) => existing(path)?,
        None => existing(&own.join(freestone_programs::library::FILE_NAME))?,
    };
    let program = Some(own.join("bench-rust-freestone"));
    let version = env!("CARGO_PKG_VERSION").to_string();
    let both = vec![Interface::C, Interface::Rust];
    Ok(runner(FREESTONE, Role::Subject, version, Some(library), program, both))
}

fn existing(path: &Path) -> Result<PathBuf, String> {
    freestone_programs::library::checked(path)
}

/// The sources of this workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The command `freestone`, brought up to date like the programs of `field`, beside which it lies.
pub fn freestone_command(options: &Options, field: &Field) -> Result<PathBuf, String> {
    if options.build {
        cargo_build("freestone-cli", &target_folder())?;
    }
    let path = field.bench_c.with_file_name("freestone");
    match path.is_file() {
        true => Ok(path),
        false => Err(format!("there is no {}: leave out --no-build", path.display())),
    }
}

/// The folder with the workloads' programs and Freestone's library: the release build, brought up to date; without building,
/// the folder of this program.
fn own_programs(options: &Options) -> Result<PathBuf, String> {
    let folder = if options.build {
        let target = target_folder();
        // One after the other: built together, the library would get the features that the programs ask for.
        if options.freestone.is_none() {
            cargo_build("freestone-malloc", &target)?;
        }
        cargo_build("freestone-bench", &target)?;
        target.join("release")
    } else {
        let own = std::env::current_exe().map_err(|error| format!("this program's own path: {error}"))?;
        own.parent().map(Path::to_path_buf).unwrap_or_default()
    };
    match folder.join("bench-c").is_file() {
        true => Ok(folder),
        false => Err(format!("{} holds no bench-c: leave out --no-build", folder.display())),
    }
}

/// The target folder that this program itself lies in, or else the workspace's.
fn target_folder() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let built = own.parent().filter(|folder| folder.ends_with("release") || folder.ends_with("debug"));
    match built.and_then(Path::parent) {
        Some(target) => target.into(),
        None => workspace().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into())),
    }
}

fn cargo_build(package: &str, target: &Path) -> Result<(), String> {
    eprintln!("building {package} (if it is not up to date)");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--release", "-p", package, "--target-dir"]).arg(target);
    command.current_dir(workspace()).stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("cargo did not start: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let messages = String::from_utf8_lossy(&output.stderr);
    Err(format!("{package} does not build:\n{}", messages.trim_end()))
}

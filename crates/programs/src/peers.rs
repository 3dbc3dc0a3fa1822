//! The allocators that the table compares: Debian's packages of the peers, the C library's own, and ours.

use std::path::{Path, PathBuf};
use std::process::Command;

/// An allocator in the table.
#[derive(Clone, Debug)]
pub struct Peer {
    /// How the table calls it.
    pub name: String,
    /// What is preloaded. For the C library's own this is the C library itself: some programs (Debian's
    /// redis-server is one) are linked against another allocator, and preloading it puts its malloc first.
    pub library: PathBuf,
    /// The package and its version, or nothing for a library that no package brought.
    pub origin: String,
}

/// Name, file and package of each peer.
const PEERS: [(&str, &str, &str); 4] = [
    ("glibc", "libc.so.6", "libc6"),
    ("jemalloc", "libjemalloc.so.2", "libjemalloc2"),
    ("mimalloc", "libmimalloc.so.2", "libmimalloc2.0"),
    ("tcmalloc", "libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"),
];

/// The packages that bring the peers.
pub fn packages() -> impl Iterator<Item = &'static str> {
    // The C library is there already.
    PEERS.iter().skip(1).map(|(_, _, package)| *package)
}

/// The peers that are installed, and the packages of those that are not.
pub fn installed() -> (Vec<Peer>, Vec<&'static str>) {
    let mut missing = Vec::new();
    let mut peers = Vec::new();
    for (name, file, package) in PEERS {
        match find_library(file) {
            Some(library) => peers.push(Peer::new(name, &library)),
            None => missing.push(package),
        }
    }
    (peers, missing)
}

impl Peer {
    /// The allocator in `library`.
    pub fn new(name: &str, library: &Path) -> Peer {
        Peer { name: name.into(), library: library.into(), origin: package_of(library).unwrap_or_default() }
    }
}

/// The library `file`, where packages put it.
pub fn find_library(file: &str) -> Option<PathBuf> {
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    [format!("/usr/lib/{triplet}"), format!("/lib/{triplet}"), "/usr/lib64".into(), "/usr/lib".into()]
        .iter()
        .map(|folder| Path::new(folder).join(file))
        .find(|path| path.is_file())
}

/// The package that a file belongs to, with its version, on systems that have dpkg.
fn package_of(file: &Path) -> Option<String> {
    let spellings = [file.to_path_buf(), file.canonicalize().ok()?];
    let owner = spellings.iter().flat_map(|path| {
        // Where /lib is a link to /usr/lib, the package may know the file under either name.
        let text = path.to_string_lossy().into_owned();
        let other = text.strip_prefix("/usr").map(String::from);
        [Some(text), other].into_iter().flatten()
    });
    let package = owner.into_iter().find_map(|path| {
        let text = output(Command::new("dpkg-query").args(["-S", &path]))?;
        Some(text.split([':', ',']).next()?.to_string())
    })?;
    let version = output(Command::new("dpkg-query").args(["-W", "-f", "${Version}", &package]))?;
    Some(format!("{package} {version}"))
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

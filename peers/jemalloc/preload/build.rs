//! jemalloc's own configuration and make, with no options: that is the shared library its authors ship.

use std::process::Command;

use peer_build::{Package, hand_over, jobs, output, tell_version};

fn main() {
    let package = Package::find("tikv-jemalloc-sys");
    let source = package.copy("jemalloc");
    // The crate keeps the generated script apart from the sources, and jemalloc's version behind its own.
    std::fs::copy(package.root.join("configure/configure"), source.join("configure"))
        .expect("the crate has it");
    let version = package.version.split_once('+').expect("the crate names jemalloc's version").1;
    tell_version(version.split('-').next().expect("a first part"));
    let mut configure = Command::new("sh");
    configure
        .args(["configure", "--disable-doc"])
        .arg(format!("--with-version={version}"))
        .current_dir(&source);
    output(&mut configure);
    output(Command::new("make").args(["-j", &jobs(), "build_lib_shared"]).current_dir(&source));
    hand_over(&source.join("lib/libjemalloc.so.2"), "jemalloc");
}

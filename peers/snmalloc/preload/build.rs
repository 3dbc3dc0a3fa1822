//! snmalloc's own CMake target for preloading, without its tests.

use std::process::Command;

use peer_build::{Package, hand_over, jobs, out_dir, output};

fn main() {
    let source = Package::find("snmalloc-sys").root.join("upstream");
    let build = out_dir().join("build");
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(source).arg("-B").arg(&build);
    configure.args(["-DCMAKE_BUILD_TYPE=Release", "-DSNMALLOC_BUILD_TESTING=OFF"]);
    output(&mut configure);
    let mut compile = Command::new("cmake");
    compile.arg("--build").arg(&build).args(["--target", "snmallocshim", "-j", &jobs()]);
    output(&mut compile);
    hand_over(&build.join("libsnmallocshim.so"), "snmalloc");
}

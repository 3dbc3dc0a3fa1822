//! The definitions and flags that rpmalloc's own build has for `librpmallocwrap.so` in release.

use peer_build::{Package, link, out_dir};

fn main() {
    let source = Package::find("rpmalloc-sys").root.join("rpmalloc/rpmalloc");
    let mut build = cc::Build::new();
    build.cargo_metadata(false).cargo_warnings(false).warnings(false).pic(true).opt_level(3).std("c11");
    build.file(source.join("rpmalloc.c")).include(&source);
    for name in ["ENABLE_PRELOAD", "ENABLE_OVERRIDE", "RPMALLOC_COMPILE", "_GNU_SOURCE"] {
        build.define(name, "1");
    }
    build.define("NDEBUG", None);
    for flag in ["-funit-at-a-time", "-fstrict-aliasing", "-fvisibility=hidden", "-fno-stack-protector"] {
        build.flag(flag);
    }
    build.flag("-fomit-frame-pointer").flag("-funroll-loops").flag("-ffast-math");
    build.compile("rpmalloc");
    link(build.get_compiler().path(), &out_dir().join("librpmalloc.a"), "rpmalloc", &["-lm", "-ldl"]);
}

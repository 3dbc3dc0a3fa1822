//! The crate compiles mimalloc as one file, as its authors advise for overriding `malloc`; this does the same, with the
//! definitions and flags that their CMake build has for a shared library in release.

use std::fs;

use peer_build::{Package, link, out_dir, tell_version};

fn main() {
    let source = Package::find("libmimalloc-sys").root.join("c_src/mimalloc/v2");
    let header = fs::read_to_string(source.join("include/mimalloc.h")).expect("the crate has the header");
    tell_version(&version(&header).expect("the header has the version"));
    let mut build = cc::Build::new();
    build.cargo_metadata(false).cargo_warnings(false).warnings(false).pic(true).opt_level(3);
    build.include(source.join("include")).include(source.join("src")).file(source.join("src/static.c"));
    for name in ["MI_MALLOC_OVERRIDE", "MI_SHARED_LIB", "MI_SHARED_LIB_EXPORT", "MI_BUILD_RELEASE", "NDEBUG"]
    {
        build.define(name, None);
    }
    build.flag("-fvisibility=hidden").flag("-ftls-model=initial-exec").flag("-fno-builtin-malloc");
    build.compile("mimalloc");
    link(build.get_compiler().path(), &out_dir().join("libmimalloc.a"), "mimalloc2", &[]);
}

/// The version in the header: major, and two digits each for minor and patch.
fn version(header: &str) -> Option<String> {
    let number = header.split("#define MI_MALLOC_VERSION").nth(1)?.split_whitespace().next()?;
    let number: u32 = number.parse().ok()?;
    Some(format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100))
}

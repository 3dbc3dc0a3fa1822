//! TCMalloc is built by Bazel; the crate lists the files and flags that make the same library without it. This compiles
//! the crate's list, with `tcmalloc.cc` itself, which brings the C and C++ entry points, where the crate has its bridge
//! to Rust.

use std::path::Path;

use peer_build::{Package, link, out_dir};

fn main() {
    let root = Package::find("libtcmalloc-sys").root;
    let recipe = std::fs::read_to_string(root.join("build.rs")).expect("the crate has a build script");
    let mut build = cc::Build::new();
    build.cargo_metadata(false).cargo_warnings(false).warnings(false).pic(true).cpp(true).std("c++17");
    build.opt_level(3).force_frame_pointer(true);
    // TCMalloc is meant to be linked into the program. As a library it would reach its own data and thread-locals by
    // detours, among them a call in every malloc; these two leave only the way through the dynamic linker to it.
    build.flag("-fvisibility=hidden").flag("-ftls-model=initial-exec");
    build.define("NDEBUG", None).define("NOMINMAX", None).define("TCMALLOC_INTERNAL_8K_PAGES", None);
    build.includes(["c_src/abseil-cpp", "c_src/tcmalloc"].map(|folder| root.join(folder)));
    let files = files(&recipe);
    assert!(files.len() > 100, "the crate's build script no longer lists its files");
    build.files(files.into_iter().map(|file| root.join(file)));
    build.file(root.join("c_src/tcmalloc/tcmalloc/tcmalloc.cc"));
    build.compile("tcmalloc");
    // The C++ library goes in, so that C programs need not load it, and stays hidden from C++ programs, which have theirs.
    let further = ["-static-libstdc++", "-Wl,--exclude-libs,libstdc++.a"];
    link(build.get_compiler().path(), &out_dir().join("libtcmalloc.a"), "tcmalloc", &further);
}

/// The sources of TCMalloc and Abseil that the crate's build script names.
fn files(recipe: &str) -> Vec<&str> {
    let quoted = recipe.split('"').skip(1).step_by(2);
    let source = |text: &&str| {
        let bridge = text.ends_with("_bridge.cc");
        text.starts_with("c_src/")
            && !bridge
            && Path::new(text).extension().is_some_and(|ext| ext == "cc" || ext == "S")
    };
    quoted.filter(source).collect()
}

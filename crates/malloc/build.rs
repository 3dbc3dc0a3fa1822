//! How the shared library is linked.
//!
//! It stays loaded: after `dlclose` the kernel could still look for the descriptor of a restartable sequence in it, and
//! libc would call its fork handlers.
//!
//! Every process that is started with it pays for its mappings and for each page that the dynamic linker writes to. So all
//! that needs relocating shares one page, which is read-only afterwards, and all other data is zero at first: no code
//! of the C compiler's for start and end, which brings a word of data; no word of data to find the personality routine by
//! (`panic.rs` has one among the constants); and each segment begins with a page of its own.
fn main() {
    let mut arguments = vec!["-Wl,-z,nodelete", "-Wl,-z,separate-loadable-segments"];
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu") {
        arguments.push("-nostartfiles");
        arguments.push("-Wl,--defsym=DW.ref.rust_eh_personality=freestone_personality");
    }
    // What tells the allocator that it has an object to itself (`freestone::stack::library`): any address will do.
    arguments.push("-Wl,--defsym=freestone_library=malloc");
    let layout = format!("-Wl,-T,{}/layout.ld", std::env::var("CARGO_MANIFEST_DIR").unwrap());
    arguments.push(&layout);
    for argument in arguments {
        println!("cargo:rustc-link-arg-cdylib={argument}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=layout.ld");
}

//! How the shared library is linked.
//!
//! It stays loaded: after `dlclose` the kernel could still look for the descriptor of a restartable sequence in it, and
//! libc would call its fork handlers.
//!
//! Every process that is started with it pays for its mappings and for each page that the dynamic linker writes to. So all
//! that needs relocating shares one page, which is read-only afterwards, and all other data is zero at first: no code
//! of the C compiler's for start and end, which brings a word of data; no word of data to find the personality routine by
//! (`panic.rs` has one among the constants); and each segment begins with a page of its own.
//!
//! One build serves every glibc: it is linked with an empty library in libc's place, which has its name. So it needs libc, but of
//! each function whatever version it finds; with libc itself the linker would write down the versions of the machine that it
//! runs on, and an older glibc would refuse the library. What glibc before 2.34 keeps elsewhere is in `src/older.rs`.
use std::process::Command;
use std::{env, fs};

fn main() {
    let mut arguments = vec!["-Wl,-z,nodelete", "-Wl,-z,separate-loadable-segments"];
    let libc;
    if env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu") {
        arguments.push("-nostartfiles");
        arguments.push("-Wl,--defsym=DW.ref.rust_eh_personality=freestone_personality");
        arguments.push("-Wl,--defsym=pthread_key_create=freestone_key_create");
        arguments.push("-Wl,--defsym=pthread_setspecific=freestone_set_specific");
        libc = format!("-Wl,--no-as-needed,{}", stand_in_for_libc());
        arguments.push(&libc);
    } else {
        arguments.push("-lc");
    }
    // What tells the allocator that it has an object to itself (`freestone::stack::library`): any address will do.
    arguments.push("-Wl,--defsym=freestone_library=malloc");
    let layout = format!("-Wl,-T,{}/layout.ld", env::var("CARGO_MANIFEST_DIR").unwrap());
    arguments.push(&layout);
    for argument in arguments {
        println!("cargo:rustc-link-arg-cdylib={argument}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=layout.ld");
}

/// Makes an empty library with libc's name, as the crate itself is built.
fn stand_in_for_libc() -> String {
    let out = env::var("OUT_DIR").unwrap();
    let (source, library) = (format!("{out}/empty.rs"), format!("{out}/libc-of-any-version.so"));
    let empty = "#![no_std]\n#[panic_handler]\nfn panic(_: &core::panic::PanicInfo<'_>) -> ! { loop {} }\n";
    fs::write(&source, empty).unwrap();
    let mut rustc = Command::new(env::var("RUSTC").unwrap());
    rustc.args(["--crate-type=cdylib", "--crate-name=empty", "--edition=2024", "-Cpanic=abort"]);
    rustc.args(["-Clink-arg=-nostdlib", "-Clink-arg=-Wl,-soname,libc.so.6"]);
    rustc.args(["--target", &env::var("TARGET").unwrap(), "-o", &library, &source]);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    rustc.args(flags.split('\x1f').filter(|flag| !flag.is_empty()));
    assert!(rustc.status().is_ok_and(|status| status.success()), "an empty library cannot be linked");
    library
}

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
    let mut arguments = vec!["-Wl,-z,nodelete".into(), "-Wl,-z,separate-loadable-segments".into()];
    if env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu") {
        arguments.push("-nostartfiles".into());
        arguments.push("-Wl,--defsym=DW.ref.rust_eh_personality=freestone_personality".into());
        arguments.push("-Wl,--defsym=pthread_key_create=freestone_key_create".into());
        arguments.push("-Wl,--defsym=pthread_setspecific=freestone_set_specific".into());
        if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
            arguments.push("-Wl,--defsym=memcpy=freestone_memcpy".into());
        }
        match link_empty("libc-of-any-version.so", &["-Wl,-soname,libc.so.6"]) {
            Ok(libc) => {
                arguments.push(format!("-Wl,--no-as-needed,{libc}"));
                if !takes_scripts() {
                    const OTHER: &str =
                        "set RUSTFLAGS=-Clink-arg=-fuse-ld=bfd, or lld, to link libfreestone_malloc.so";
                    println!("cargo:warning=the linker takes no scripts, as mold does not: {OTHER}");
                }
            }
            // Who only checks the code needs no linker.
            Err(said) => println!("cargo:warning=the linker makes no libraries: {}", said.replace('\n', " ")),
        }
    } else {
        arguments.push("-lc".into());
    }
    // What tells the allocator that it has an object to itself (`freestone::stack::library`): any address will do.
    arguments.push("-Wl,--defsym=freestone_library=malloc".into());
    // A copy, since cargo knows where it has moved the folder of what is built, but not that of the sources.
    let layout = format!("{}/layout.ld", env::var("OUT_DIR").unwrap());
    fs::copy("layout.ld", &layout).unwrap();
    arguments.push(format!("-Wl,-T,{layout}"));
    for argument in arguments {
        println!("cargo:rustc-link-arg-cdylib={argument}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=layout.ld");
}

/// Whether the linker takes a script that orders sections. mold does not, and takes names given by `--defsym` for addresses of nothing.
fn takes_scripts() -> bool {
    let script = format!("{}/order.ld", env::var("OUT_DIR").unwrap());
    fs::write(&script, "SECTIONS { .order : { *(.order) } } INSERT BEFORE .text;\n").unwrap();
    link_empty("order.so", &[&format!("-Wl,-T,{script}")]).is_ok()
}

/// Makes a library that does nothing, as the crate itself is built. The file, or what was said.
fn link_empty(name: &str, arguments: &[&str]) -> Result<String, String> {
    let out = env::var("OUT_DIR").unwrap();
    let (source, library) = (format!("{out}/empty.rs"), format!("{out}/{name}"));
    let empty = "#![no_std]\n#[panic_handler]\nfn panic(_: &core::panic::PanicInfo<'_>) -> ! { loop {} }\n\
                 #[unsafe(no_mangle)]\npub extern \"C\" fn freestone_empty() {}\n";
    fs::write(&source, empty).unwrap();
    let mut rustc = Command::new(env::var("RUSTC").unwrap());
    rustc.args(["--crate-type=cdylib", "--crate-name=empty", "--edition=2024", "-Cpanic=abort"]);
    rustc.args(["--target", &env::var("TARGET").unwrap(), "-o", &library, &source]);
    rustc.args(["-Clink-arg=-nostdlib"]).args(arguments.iter().map(|one| format!("-Clink-arg={one}")));
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    rustc.args(flags.split('\x1f').filter(|flag| !flag.is_empty()));
    let output = rustc.output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    output.status.success().then_some(library).ok_or(said)
}

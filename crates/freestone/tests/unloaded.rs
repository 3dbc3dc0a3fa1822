//! A library with the allocator in it is opened and closed again and again, in a program with another allocator. It must stay
//! loaded: libc would call its fork handlers, and the allocator's own thread runs its code.
//!
//! # Safety
//!
//! The library is `examples/plugin.rs`, whose function has the type given here.
#![allow(unsafe_code)]

use std::ffi::{CString, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The library: cargo builds the examples where it runs all tests of the package, else it is built here.
fn library() -> PathBuf {
    const NAME: &str = "examples/libfreestone_plugin.so";
    let test = std::env::current_exe().unwrap();
    let built = test.parent().and_then(|deps| deps.parent()).unwrap().join(NAME);
    if built.exists() {
        return built;
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "-p", "freestone", "--example", "freestone_plugin", "--target-dir"]).arg(&target);
    assert!(cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
    target.join("debug").join(NAME)
}

/// Opens the library, or asks whether it is loaded.
fn open(library: &Path, flags: i32) -> *mut c_void {
    let path = CString::new(library.as_os_str().as_encoded_bytes()).unwrap();
    // SAFETY: a terminated path; what the library does when it is loaded is nothing.
    unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | flags) }
}

#[test]
fn a_library_with_the_allocator_in_it_stays() {
    let path = library();
    let mut results = Vec::new();
    for _ in 0..6 {
        let library = open(&path, 0);
        assert!(!library.is_null());
        // SAFETY: a library that is open, and a terminated name.
        let work = unsafe { libc::dlsym(library, c"freestone_plugin_work".as_ptr()) };
        assert!(!work.is_null());
        // SAFETY: its type in the example.
        let work = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> u64>(work) };
        results.push(std::thread::spawn(move || work()).join().unwrap());
        // SAFETY: nothing of it is used any more.
        assert_eq!(unsafe { libc::dlclose(library) }, 0);
        assert!(!open(&path, libc::RTLD_NOLOAD).is_null(), "unloaded");
        assert!(Command::new("true").status().unwrap().success());
    }
    assert!(results.iter().all(|&result| result == results[0]));
}

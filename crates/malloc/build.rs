//! The library stays loaded: after `dlclose` the kernel could still look for the descriptor of a restartable sequence in
//! it, and libc would call its fork handlers.
fn main() {
    println!("cargo:rustc-link-arg-cdylib=-Wl,-z,nodelete");
    println!("cargo:rerun-if-changed=build.rs");
}

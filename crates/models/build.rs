//! Compiles the allocator's files as for a model checker.

fn main() {
    println!("cargo:rustc-cfg=loom");
}

//! The library to preload.

fn main() {
    peer_build::mimalloc("v3", "mimalloc3", &[]);
}

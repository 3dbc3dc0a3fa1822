//! The library to preload.

fn main() {
    peer_build::mimalloc("v2", "mimalloc2", &[]);
}

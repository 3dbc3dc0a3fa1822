//! The library to preload.

fn main() {
    peer_build::mimalloc("v3", "mimalloc_secure", &[("MI_SECURE", "4")]);
}

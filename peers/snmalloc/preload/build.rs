//! snmalloc's own CMake target for preloading, without its tests.

fn main() {
    peer_build::snmalloc("snmallocshim", "snmalloc");
}

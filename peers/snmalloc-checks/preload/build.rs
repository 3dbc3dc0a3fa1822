//! snmalloc's own CMake target for preloading with all its checks.

fn main() {
    peer_build::snmalloc("snmallocshim-checks", "snmalloc_checks");
}

//! hardened_malloc, in the configuration that its authors call `default`.

fn main() {
    peer_build::hardened_malloc("config-default.conf", "hardened_malloc");
}

//! hardened_malloc, in the configuration that its authors call `light`.

fn main() {
    peer_build::hardened_malloc("config-light.conf", "hardened_malloc_light");
}

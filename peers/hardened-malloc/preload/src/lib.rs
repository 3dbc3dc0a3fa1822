//! Empty: the build script makes `libpeer_hardened_malloc.so`.

//! Empty: the build script makes `libpeer_jemalloc.so`.

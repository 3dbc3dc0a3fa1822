//! Empty: the build script makes `libpeer_mimalloc3.so`.

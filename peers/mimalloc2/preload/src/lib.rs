//! Empty: the build script makes `libpeer_mimalloc2.so`.

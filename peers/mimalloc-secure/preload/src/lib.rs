//! Empty: the build script makes `libpeer_mimalloc_secure.so`.

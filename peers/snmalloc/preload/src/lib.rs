//! Empty: the build script makes `libpeer_snmalloc.so`.

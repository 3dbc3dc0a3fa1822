//! Empty: the build script makes `libpeer_tcmalloc.so`.

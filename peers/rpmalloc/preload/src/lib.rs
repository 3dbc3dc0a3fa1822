//! Empty: the build script makes `libpeer_rpmalloc.so`.

//! Empty: the build script makes `libpeer_snmalloc_checks.so`.

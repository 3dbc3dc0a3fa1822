//! The conformance suite of Freestone's C interface: C and C++ programs in `cases/`, run by the
//! integration test `tests/conformance.rs`. This crate has no code of its own; see its README.

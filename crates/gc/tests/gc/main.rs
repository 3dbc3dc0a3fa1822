//! All tests that go by the public interface, in one program.
#![forbid(unsafe_code)]

mod basics;

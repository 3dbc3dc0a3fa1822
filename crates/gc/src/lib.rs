//! Implicit allocation: memory that is given back without the program's saying so.

pub mod counted;

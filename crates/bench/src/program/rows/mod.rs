//! The rows, one file for each family of programs.

mod compilers;
mod databases;
mod documents;
mod emptied;
mod interpreters;
mod logic;
mod numbers;
mod start;

use super::Program;

pub use compilers::GXX;
pub use emptied::EMPTIED;

/// All families, in the order in which they are listed.
pub const FAMILIES: [&[Program]; 7] = [
    start::ROWS,
    databases::ROWS,
    compilers::ROWS,
    interpreters::ROWS,
    numbers::ROWS,
    logic::ROWS,
    documents::ROWS,
];

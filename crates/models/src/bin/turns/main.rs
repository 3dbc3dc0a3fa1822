//! The bank of the bounded pool under shuttle: the kit's own file, with a lock and signals that the checker knows.
//! With the argument `deaf` some signals are not given, which the model must find.
#![allow(rustdoc::broken_intra_doc_links, reason = "files taken in speak of others that are not")]

#[path = "../../../../kit/src/bounded_pool/bank.rs"]
#[allow(dead_code, reason = "the kit's file; the model uses a part of it")]
mod bank;
mod model;
mod monitor;

fn main() {
    model::run(std::env::args().nth(1).as_deref() == Some("deaf"));
}

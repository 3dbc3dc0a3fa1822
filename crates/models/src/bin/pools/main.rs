//! The lock-free files of the kit's pools under loom: `pools MODEL FAULT`.
//!
//! * `queue`: the queue of a thread's cache in `netty`, with two givers and one taker.
//! * `chain`: the shared queue of an object pool, with its owner and stealers.
//! * `ledger`: the byte counter of `accounting`, with a limit that two threads meet.

#[path = "../../../../kit/src/object_pool/chain.rs"]
#[allow(dead_code, reason = "the kit's file; the model uses a part of it")]
mod chain;
#[path = "../../../../kit/src/accounting/ledger.rs"]
#[allow(dead_code, reason = "the kit's file; the model uses a part of it")]
mod ledger;
mod model;
#[path = "../../../../kit/src/netty/queue.rs"]
#[allow(dead_code, reason = "the kit's file; the model uses a part of it")]
mod queue;
mod sync;

use sync::Fault;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let fault = match arguments.get(1).map(String::as_str) {
        None | Some("none") => Fault::None,
        Some("relaxed") => Fault::Relaxed,
        Some("torn") => Fault::TornExchange,
        Some(other) => panic!("no such fault: {other}"),
    };
    match arguments.first().map(String::as_str) {
        Some("queue") => model::queue(fault),
        Some("chain") => model::chain(fault),
        Some("ledger") => model::ledger(fault),
        other => panic!("no such model: {other:?}"),
    }
}

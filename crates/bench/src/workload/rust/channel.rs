//! Boxed messages through a chain of channels.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::{Random, Work, threaded, timed, word};
use crate::workload::Workload;
use crate::{Outcome, Params};

/// What one thread allocates another one frees.
pub const CHANNEL: Workload = threaded(
    "channel",
    "boxed messages with strings and vectors through channels from thread to thread, freed in the last",
    "std's mpsc channels: a pipeline of at least two threads",
);

enum Message {
    Text(String),
    Values(Vec<u64>),
    Pair(Box<(Message, Message)>),
}

impl Message {
    fn new(random: &mut Random) -> Message {
        match random.below(7) {
            0..4 => Message::Text(word(random)),
            4..6 => Message::Values((0..random.between(1, 30) as u64).collect()),
            _ => Message::Pair(Box::new((Message::new(random), Message::new(random)))),
        }
    }

    /// What a stage makes of it: some parts stay, others are replaced.
    fn pass(self) -> Message {
        match self {
            Message::Text(text) if text.len() % 2 == 0 => Message::Text(text + "!"),
            Message::Values(values) => Message::Values(values.iter().map(|value| value * 3).collect()),
            other => other,
        }
    }

    fn weight(&self) -> u64 {
        match self {
            Message::Text(text) => text.len() as u64,
            Message::Values(values) => values.iter().sum(),
            Message::Pair(pair) => 1 + pair.0.weight() + 2 * pair.1.weight(),
        }
    }
}

type Batch = Vec<Box<Message>>;

/// Runs [`CHANNEL`].
pub fn channel(params: &Params) -> Outcome {
    let batches = params.times(150_000);
    let mut random = Random::new(params.seed, 0);
    // One thread would have nobody to send to: the least is two.
    let stages = params.threads.saturating_sub(2);
    timed(|| {
        thread::scope(|scope| {
            let (sender, mut receiver) = sync_channel::<Batch>(64);
            scope.spawn(move || {
                for _ in 0..batches {
                    let batch = (0..64).map(|_| Box::new(Message::new(&mut random))).collect();
                    sender.send(batch).expect("the next stage listens");
                }
            });
            for _ in 0..stages {
                let (next, behind) = sync_channel(64);
                scope.spawn(move || stage(&receiver, &next));
                receiver = behind;
            }
            let last = scope.spawn(move || {
                let mut work = Work::default();
                for message in receiver.iter().flatten() {
                    work.done(message.pass().weight());
                }
                work
            });
            last.join().expect("a panic aborts")
        })
    })
}

fn stage(receiver: &Receiver<Batch>, next: &SyncSender<Batch>) {
    for batch in receiver {
        let batch = batch.into_iter().map(|message| Box::new(message.pass())).collect();
        next.send(batch).expect("the next stage listens");
    }
}

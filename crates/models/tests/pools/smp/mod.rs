//! A slot of `smp`: three threads use its lists when nobody else does.

mod home;
mod lists;
#[path = "../../../../kit/src/smp/slot.rs"]
#[allow(dead_code, reason = "the kit's file; the model uses a part of it")]
mod slot;

use std::rc::Rc;

use loom::thread;

use crate::sync::{Fault, check};
use slot::Slot;

fn user(slot: &Slot) {
    if let Some(mut lists) = slot.try_lock() {
        lists.used();
    }
}

pub fn slot(fault: Fault) {
    check(fault, Some(3), || {
        let mut slot = Rc::new(Slot::new());
        // Every word of it is this thread's first.
        user(&slot);
        let users: Vec<_> = (0..2)
            .map(|_| {
                let slot = slot.clone();
                thread::spawn(move || user(&slot))
            })
            .collect();
        user(&slot);
        users.into_iter().for_each(|user| user.join().unwrap());
        Rc::get_mut(&mut slot).expect("the others are gone").get_mut().used();
    });
}

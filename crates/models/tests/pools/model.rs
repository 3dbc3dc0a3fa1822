//! What the threads do. Loom runs all threads of a model on one, so what only checks them needs no care.
//!
//! # Safety
//!
//! Each model keeps the conditions of the file that it runs: one taker, or one owner, a thread of its own.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ptr::NonNull;
use std::rc::Rc;

use loom::cell::UnsafeCell;
use loom::thread;

use crate::chain::Chain;
use crate::ledger::Ledger;
use crate::queue::Queue;
use crate::shard::Shard;
use crate::sync::{Fault, check};

/// An object, and how often somebody has got it. Loom ends the model where two uses of its contents are not ordered.
pub struct Object {
    contents: UnsafeCell<u32>,
    got: Cell<u32>,
}

impl Object {
    pub fn some<const N: usize>() -> Rc<[Object; N]> {
        Rc::new(std::array::from_fn(|_| Object { contents: UnsafeCell::new(0), got: Cell::new(0) }))
    }

    pub fn used(&self) {
        self.contents.with_mut(|_| ());
    }

    pub fn address<T>(&self) -> NonNull<T> {
        NonNull::from(self).cast()
    }

    /// How often it was got.
    pub fn times(&self) -> u32 {
        self.got.get()
    }

    /// The object at an address, which the caller has got from a queue.
    pub fn got<T>(objects: &[Object], address: NonNull<T>) {
        let object =
            objects.iter().find(|object| object.address() == address).expect("an object that was put");
        object.got.set(object.got.get() + 1);
        object.used();
    }
}

/// Two threads give three blocks to a queue of two places, and a third takes what is there.
pub fn queue(fault: Fault) {
    check(fault, Some(3), || {
        let objects = Object::some::<3>();
        let queue = Rc::new(Queue::new(2));
        assert_eq!(queue.len(), 0, "and its ends are this thread's first");
        let refused = Rc::new(Cell::new(0));
        let givers: Vec<_> = [0..2, 2..3]
            .into_iter()
            .map(|mine| {
                let (objects, queue, refused) = (objects.clone(), queue.clone(), refused.clone());
                thread::spawn(move || {
                    for object in &objects[mine] {
                        object.used();
                        if !queue.offer(object.address()) {
                            refused.set(refused.get() + 1);
                        }
                    }
                })
            })
            .collect();
        let take = |queue: &Queue, objects: &[Object]| {
            // SAFETY: this thread alone takes.
            if let Some(block) = unsafe { queue.poll() } {
                Object::got(objects, block);
            }
        };
        (0..2).for_each(|_| take(&queue, &*objects));
        givers.into_iter().for_each(|giver| giver.join().unwrap());
        assert!(queue.len() <= 2);
        (0..3).for_each(|_| take(&queue, &*objects));
        let got: u32 = objects.iter().map(|object| object.got.get()).sum();
        assert_eq!(got + refused.get(), 3, "a block is lost or doubled");
        assert!(objects.iter().all(|object| object.got.get() <= 1), "a block was got twice");
    });
}

/// The owner puts three objects, so that a second ring is made, and takes; two others steal.
pub fn chain(fault: Fault) {
    check(fault, Some(2), || {
        let objects = Object::some::<3>();
        let chain = Rc::new(Chain::<u32>::new());
        // SAFETY: this thread alone is the owner.
        assert_eq!(unsafe { chain.pop_head() }, None, "and its ends are this thread's first");
        let thieves: Vec<_> = (0..2)
            .map(|_| {
                let (objects, chain) = (objects.clone(), chain.clone());
                thread::spawn(move || {
                    if let Some(object) = chain.pop_tail() {
                        Object::got(&*objects, object);
                    }
                })
            })
            .collect();
        for object in objects.iter() {
            object.used();
            // SAFETY: this thread alone is the owner.
            unsafe { chain.push_head(object.address()) }.expect("a chain grows");
        }
        // SAFETY: this thread alone is the owner.
        if let Some(object) = unsafe { chain.pop_head() } {
            Object::got(&*objects, object);
        }
        thieves.into_iter().for_each(|thief| thief.join().unwrap());
        // SAFETY: this thread alone is the owner.
        while let Some(object) = unsafe { chain.pop_head() } {
            Object::got(&*objects, object);
        }
        assert!(objects.iter().all(|object| object.got.get() == 1), "an object is lost or doubled");
    });
}

/// An object of a shard, which uses its contents when it is dropped, too.
struct Pooled(Rc<[Object; 2]>, usize);

impl Pooled {
    fn used(&self) {
        self.0[self.1].used();
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        // Not when the checker has found something already: a second panic would end the tests.
        if !std::thread::panicking() {
            self.used();
        }
        let got = &self.0[self.1].got;
        got.set(got.get() + 1);
    }
}

/// Two threads put an object each into one shard, get one, steal one; a third lets the shard age.
pub fn shard(fault: Fault) {
    check(fault, Some(2), || {
        let objects = Object::some::<2>();
        let shard = Rc::new(Shard::<Pooled>::new());
        // Every word of it is this thread's first.
        assert!(shard.pin().is_some_and(|pin| pin.age().is_empty() && pin.get().is_none()));
        assert!(shard.steal(false).is_none() && shard.steal(true).is_none());
        let users: Vec<_> = (0..2)
            .map(|number| {
                let (shard, object) = (shard.clone(), Box::new(Pooled(objects.clone(), number)));
                thread::spawn(move || {
                    object.used();
                    if let Some(pin) = shard.pin() {
                        assert!(pin.put(object).is_ok());
                    }
                    let other = shard.pin().and_then(|pin| pin.get()).or_else(|| shard.steal(false));
                    if let Some(other) = other {
                        other.used();
                    }
                })
            })
            .collect();
        if let Some(pin) = shard.pin() {
            drop(pin.age());
        }
        users.into_iter().for_each(|user| user.join().unwrap());
        drop(shard);
        assert!(objects.iter().all(|object| object.got.get() == 1), "an object is lost or doubled");
    });
}

const LIMIT: usize = 10;

/// Two threads charge and release; together they want more than the limit, each less.
pub fn ledger(fault: Fault) {
    check(fault, Some(3), || {
        let ledger = Rc::new(Ledger::new(LIMIT));
        // Every word of it is this thread's first.
        for shard in 0..2 {
            assert!(ledger.charge(shard, LIMIT));
            ledger.release(shard, LIMIT);
        }
        let in_use = Rc::new(Cell::new(0));
        let work = |shard: usize, bytes: usize| {
            let (ledger, in_use) = (ledger.clone(), in_use.clone());
            move || {
                if ledger.charge(shard, bytes) {
                    in_use.set(in_use.get() + bytes);
                    assert!(in_use.get() <= LIMIT, "{} bytes in use", in_use.get());
                    in_use.set(in_use.get() - bytes);
                    ledger.release(shard, bytes);
                }
            }
        };
        let other = thread::spawn(work(1, 7));
        work(0, 6)();
        other.join().unwrap();
        assert_eq!(ledger.used(), 0, "bytes are lost");
        // Wherever the spare bytes lie.
        assert!(ledger.charge(0, LIMIT) && !ledger.charge(1, 1));
    });
}

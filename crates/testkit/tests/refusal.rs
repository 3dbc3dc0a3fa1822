//! Sequences on an allocator whose system refuses its n-th call, for every n.
//!
//! # Safety
//!
//! Every call is the toy allocator's, handed on with the arguments it came with.
#![allow(unsafe_code)]

#[allow(dead_code)]
mod toy;

use freestone_testkit::{Op, Refusal, Refuser, Subject, fail_each, run_sequence};
use toy::{Bug, Toy};

/// The toy, with every allocation counted as one call to the system.
struct Refusing {
    toy: Toy,
    system: Refuser,
}

// SAFETY: handed on: what the toy serves, or null.
unsafe impl Subject for Refusing {
    unsafe fn alloc(&self, size: usize, align: usize, zeroed: bool) -> *mut u8 {
        if !self.system.grants() {
            return std::ptr::null_mut();
        }
        // SAFETY: handed on with the caller's promise.
        unsafe { self.toy.alloc(size, align, zeroed) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, size: usize, align: usize) {
        // SAFETY: handed on with the caller's promise.
        unsafe { self.toy.dealloc(ptr, size, align) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, old_size: usize, align: usize, new_size: usize) -> *mut u8 {
        if !self.system.grants() {
            return std::ptr::null_mut();
        }
        // SAFETY: handed on with the caller's promise.
        unsafe { self.toy.realloc(ptr, old_size, align, new_size) }
    }

    fn may_refuse(&self) -> bool {
        true
    }
}

const OPS: [Op; 6] = [
    Op::Alloc { size: 100, align: 8 },
    Op::AllocMany { count: 5, size: 5000, align: 16 },
    Op::Realloc { victim: 2, new_size: 20_000 },
    Op::ReallocImpossible { victim: 1 },
    Op::FreeMany { victim: 0, count: 3 },
    Op::AllocZeroed { size: 5000, align: 4096 },
];

/// Calls to the system that `OPS` makes.
const CALLS: usize = 9;

#[test]
fn every_call_is_refused_once_and_the_sequence_goes_on() {
    let refused = fail_each(|n| {
        let subject = Refusing { toy: Toy::new(Bug::None), system: Refuser::armed(n) };
        let outcome = run_sequence(&subject, &OPS).unwrap_or_else(|violation| panic!("{violation}"));
        let refusal = subject.system.refusal();
        // The impossible growth is refused in any case.
        let impossible = 1;
        let extra = u64::from(refusal == Refusal::Met && n != 7);
        assert_eq!(outcome.refusals, impossible + extra, "call {n}");
        assert_eq!(outcome.allocs, outcome.frees);
        refusal
    });
    assert_eq!(refused, CALLS);
}

#[test]
fn a_mistake_on_the_way_out_of_a_refusal_is_found() {
    let found = (0..CALLS).filter(|&n| {
        let subject = Refusing { toy: Toy::new(Bug::ClobbersOnRefusal), system: Refuser::armed(n) };
        run_sequence(&subject, &OPS).is_err()
    });
    // The impossible growth shows it unless it is refused before it gets there.
    assert_eq!(found.count(), CALLS - 1);
}

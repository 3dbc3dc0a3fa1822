//! Many threads: correct allocators pass, a race is found.

// The sequences of one thread use more of it.
#[allow(dead_code)]
mod toy;

use freestone_testkit::{Fault, Global, Mix, StressConfig, stress};
use std::alloc::System;
use toy::{Bug, Toy};

/// Runs seeds until one shows the mistake as a fault that `expected` accepts. Others may come
/// first: a block served twice may be zeroed for its second owner before anybody can compare.
fn finds(bug: Bug, registry: bool, expected: fn(&Fault) -> bool) {
    let config = |seed| StressConfig {
        ops_per_thread: 3000,
        seed,
        mix: Mix::Tiny,
        live_blocks: 100,
        registry,
        ..StressConfig::default()
    };
    let violation = |seed| stress(&Toy::new(bug), &config(seed)).err();
    let violation = (1..50).filter_map(violation).find(|violation| expected(&violation.fault));
    println!("{}", violation.expect("the mistake is found"));
}

#[test]
fn a_race_is_found_by_the_registry() {
    finds(Bug::PopsRacily, true, |fault| matches!(fault, Fault::Overlap { .. }));
}

#[test]
fn a_block_in_a_list_twice_is_found_across_threads() {
    finds(Bug::FreesTwice, true, |fault| matches!(fault, Fault::Overlap { .. }));
}

#[test]
fn a_block_in_a_list_twice_is_found_by_the_patterns_alone() {
    finds(Bug::FreesTwice, false, |fault| matches!(fault, Fault::Overlap { .. } | Fault::Damaged { .. }));
}

#[test]
fn correct_allocators_pass_with_every_mix() {
    for mix in Mix::ALL {
        let config = StressConfig {
            ops_per_thread: 1500,
            rounds: 2,
            mix,
            verify_every: 100,
            live_blocks: 200,
            live_bytes: 8 << 20,
            ..StressConfig::default()
        };
        let toy = stress(&Toy::new(Bug::None), &config).unwrap_or_else(|v| panic!("{mix:?}: {v}"));
        assert!(toy.handed_over > 100, "{mix:?}: {toy:?}");
        let system = stress(&Global::new(System), &config).unwrap_or_else(|v| panic!("{mix:?}: {v}"));
        assert_eq!((system.allocs, system.ops), (system.frees, 2 * 4 * 1500), "{mix:?}");
    }
}

#[test]
fn the_same_seed_does_the_same_work_where_threads_do_not_meet() {
    let config = StressConfig { exchange: false, ops_per_thread: 2000, ..StressConfig::default() };
    let run = || stress(&Global::new(System), &config).unwrap();
    assert_eq!(run(), run());
}

#[test]
fn a_thousand_threads_come_and_go() {
    let config = StressConfig {
        threads: 50,
        rounds: 20,
        ops_per_thread: 100,
        mix: Mix::Small,
        ..StressConfig::default()
    };
    let outcome = stress(&Global::new(System), &config).unwrap();
    assert_eq!(outcome.ops, 100_000);
    assert_eq!(outcome.allocs, outcome.frees);
}

//! A walk over every invariant that can be checked while the program runs.

use core::fmt;

use freestone_base::ClassId;

use crate::cache::cpu;
use crate::cache::region::Region;
use crate::central::slab;
use crate::gate;
use crate::slow::{CENTRALS, LEVELS};
use crate::start::{self, Mode};

/// What the walk found broken: an internal error, or memory overwritten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerifyError(&'static str);

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl core::error::Error for VerifyError {}

/// Walks every span, list and cache and checks them against each other. May be called by any thread at any time;
/// the caches stand still meanwhile. O(pages + blocks in caches).
///
/// ```
/// let words = vec![String::from("checked"); 100];
/// freestone::verify().unwrap();
/// drop(words);
/// ```
///
/// # Errors
/// Says what is broken. A program should then stop: memory of the allocator was damaged.
pub fn verify() -> Result<(), VerifyError> {
    let Some(inside) = gate::enter() else { return Ok(()) };
    start::ensure();
    let result = walk().map_err(VerifyError);
    drop(inside);
    result
}

fn walk() -> Result<(), &'static str> {
    for class in ClassId::all() {
        CENTRALS[class.index()].verify(class, &LEVELS.pages)?;
    }
    LEVELS.pages.verify()?;
    if start::mode() == Mode::Cpu
        && let Some(result) = cpu::with_stopped(|| cpu::regions().try_for_each(walk_region))
    {
        result?;
    }
    Ok(())
}

fn walk_region(region: Region) -> Result<(), &'static str> {
    for class in ClassId::all() {
        let header = region.header(class);
        if header.0 != 0
            && (header.current() > header.end()
                || header.capacity(class) > crate::cache::region::capacity_limit(class))
        {
            return Err("a cache's header is out of bounds");
        }
        let mut result = Ok(());
        region.for_each_block(class, |block| {
            let Some(span) = LEVELS.pages.page_map().span_of(block) else {
                // A block of the emergency allocator that a sized free put here.
                if !crate::emergency::owns(core::ptr::with_exposed_provenance_mut(block)) {
                    result = Err("a cached block lies in no span");
                }
                return;
            };
            if span.class() != class {
                result = Err("a cached block belongs to another class");
            } else if slab::is_free(span, freestone_base::class_info(class), block) {
                result = Err("a cached block is marked free in its slab");
            }
        });
        result?;
    }
    Ok(())
}

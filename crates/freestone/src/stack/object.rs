//! Which loaded object an address belongs to, as far as its unwind tables are concerned.
//!
//! glibc from 2.35 on answers without a lock, for exactly this purpose. Elsewhere only the program itself is known, whose
//! headers the kernel has told of; that is all there is in a static program. There glibc's function is not asked although it
//! is there: until it is ready, for which it calls `malloc`, it reads through a null pointer. In a dynamic program the loader
//! makes it ready before anything of ours runs.
//!
//! # Safety
//!
//! U2 of `mod.rs`. `_dl_find_object` has the type of glibc's manual; the program's headers are mapped for ever.
#![allow(unsafe_code)]

use core::arch::asm;
use core::ffi::{CStr, c_char, c_int};

use freestone_sys::linux;

use super::PAGE;
use crate::sync::atomic::{AtomicU8, Ordering};

/// glibc's `struct dl_find_object`, with room for what it may grow by.
#[repr(C)]
struct Found {
    flags: u64,
    map_start: usize,
    map_end: usize,
    link_map: usize,
    eh_frame: usize,
    reserved: [u64; 11],
}

type Find = unsafe extern "C" fn(usize, *mut Found) -> c_int;

/// glibc's function, unless it is a part of the program itself. (In a dynamic program its address may be a place in the program's own table of
/// jumps, when the program has that address taken.)
fn find() -> Option<Find> {
    const UNKNOWN: u8 = 0;
    const OF_LIBC: u8 = 1;
    const OF_PROGRAM: u8 = 2;
    static WHOSE: AtomicU8 = AtomicU8::new(UNKNOWN);
    let at: usize;
    // SAFETY: reads a weak symbol's address; null where libc does not define it.
    unsafe {
        asm!(".weak _dl_find_object", "mov {0}, qword ptr [rip + _dl_find_object@GOTPCREL]", out(reg) at,
             options(nostack, preserves_flags));
    }
    // Everybody who looks finds the same.
    if WHOSE.load(Ordering::Relaxed) == UNKNOWN {
        let is_own = Program::holding(at).is_some_and(|program| !program.is_dynamic);
        WHOSE.store(if is_own { OF_PROGRAM } else { OF_LIBC }, Ordering::Relaxed);
    }
    if WHOSE.load(Ordering::Relaxed) == OF_PROGRAM {
        return None;
    }
    // SAFETY: null is `None`, any other value the function's address.
    unsafe { core::mem::transmute::<usize, Option<Find>>(at) }
}

/// The address of the table `.eh_frame_hdr` that covers `pc`.
pub(super) fn unwind_header(pc: usize) -> Option<usize> {
    let Some(find) = find() else { return Program::holding(pc)?.table };
    let mut found = Found { flags: 0, map_start: 0, map_end: 0, link_map: 0, eh_frame: 0, reserved: [0; 11] };
    // SAFETY: a structure to be written, long enough.
    let outcome = unsafe { find(pc, &raw mut found) };
    (outcome == 0 && found.eh_frame != 0).then_some(found.eh_frame)
}

/// The beginning of `struct link_map`, as in `link.h`.
#[repr(C)]
struct LinkMap {
    bias: usize,
    name: *const c_char,
}

/// The name of the object in which `pc` lies, empty for the program's own, and how far into it; `None` where nobody tells.
pub(super) fn name_of(pc: usize) -> Option<(&'static CStr, usize)> {
    let mut found = Found { flags: 0, map_start: 0, map_end: 0, link_map: 0, eh_frame: 0, reserved: [0; 11] };
    let Some(find) = find() else { return Some((c"", pc.wrapping_sub(Program::holding(pc)?.bias))) };
    // SAFETY: a structure to be written, long enough.
    if unsafe { find(pc, &raw mut found) } != 0 || found.link_map == 0 {
        return None;
    }
    let map = core::ptr::with_exposed_provenance::<LinkMap>(found.link_map);
    // SAFETY: the loader's record of an object that is loaded.
    let LinkMap { bias, name } = unsafe { map.read() };
    if name.is_null() {
        return None;
    }
    // SAFETY: the loader's string, which stays as long as the object.
    Some((unsafe { CStr::from_ptr(name) }, pc.wrapping_sub(bias)))
}

/// A program header, as in `elf.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    kind: u32,
    flags: u32,
    offset: usize,
    address: usize,
    physical: usize,
    file_size: usize,
    size: usize,
    align: usize,
}

const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_PHDR: u32 = 6;
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
const AT_PHDR: u64 = 3;
const AT_PHNUM: u64 = 5;

/// The program itself, as the kernel placed it.
struct Program {
    /// What is to be added to the addresses in its file.
    bias: usize,
    /// The address of its `.eh_frame_hdr`.
    table: Option<usize>,
    /// A loader is to be started with it.
    is_dynamic: bool,
}

impl Program {
    /// The program, if `pc` lies in it.
    fn holding(pc: usize) -> Option<Self> {
        let at = linux::auxiliary_value(AT_PHDR);
        let headers = (0..linux::auxiliary_value(AT_PHNUM)).map(|index| {
            let header = core::ptr::with_exposed_provenance::<Header>(at + index * size_of::<Header>());
            // SAFETY: so many headers lie there.
            unsafe { header.read_unaligned() }
        });
        // A static program has no header that tells of the headers; they follow the first bytes of the file then.
        let own = headers.clone().find(|header| header.kind == PT_PHDR);
        let bias = match own {
            Some(own) => at.wrapping_sub(own.address),
            None => {
                let first = headers.clone().find(|header| header.kind == PT_LOAD && header.offset == 0)?;
                (at & !(PAGE - 1)).wrapping_sub(first.address)
            }
        };
        let (mut table, mut is_dynamic, mut inside) = (None, false, false);
        for header in headers {
            let start = header.address.wrapping_add(bias);
            match header.kind {
                PT_GNU_EH_FRAME => table = Some(start),
                PT_INTERP => is_dynamic = true,
                PT_LOAD => inside |= pc.wrapping_sub(start) < header.size,
                _ => {}
            }
        }
        inside.then_some(Self { bias, table, is_dynamic })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_and_libc_have_tables_and_nowhere_has_none() {
        let own = the_program_and_libc_have_tables_and_nowhere_has_none as *const () as usize;
        assert_eq!(unwind_header(own), Program::holding(own).and_then(|program| program.table));
        assert!(unwind_header(own).is_some());
        assert!(unwind_header(libc::getpid as *const () as usize).is_some());
        assert_eq!(unwind_header(16), None);
        assert!(
            Program::holding(16).is_none() && Program::holding(libc::getpid as *const () as usize).is_none()
        );
    }
}

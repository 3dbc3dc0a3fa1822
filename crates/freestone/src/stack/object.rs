//! Which loaded object an address belongs to, as far as its unwind tables are concerned.
//!
//! glibc from 2.35 on answers without a lock, for exactly this purpose. Elsewhere the headers of the program tell, whose place the
//! kernel has told, and the loader's list of objects that it keeps for debuggers: the one that begins next below the
//! address, if it reaches so far. A static program has no such list. There glibc's function is not asked although it
//! is there: until it is ready, for which it calls `malloc`, it reads through a null pointer. In a dynamic program the loader
//! makes it ready before anything of ours runs.
//!
//! # Safety
//!
//! - U2 of `mod.rs`. `_dl_find_object` has the type of glibc's manual; the program's headers are mapped for ever.
//! - O1: the loader's list may change while it is read. Of it, and of an object that it names, a page is read only where the kernel has
//!   just said that it can be; whatever is found there, no more than the headers on that page is believed, and the list is
//!   followed for a limited number of steps.
#![allow(unsafe_code)]

use core::arch::asm;
use core::ffi::{CStr, c_char, c_int};
use core::ptr::with_exposed_provenance;

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

/// The address of glibc's function, 0 where libc has none.
#[inline(always)]
fn libcs() -> usize {
    let at: usize;
    // SAFETY: reads a weak symbol's address.
    unsafe {
        asm!(".weak _dl_find_object", "mov {0}, qword ptr [rip + _dl_find_object@GOTPCREL]", out(reg) at,
             options(nostack, preserves_flags));
    }
    at
}

/// glibc's function, unless it is a part of the program itself. (In a dynamic program its address may be a place in the program's own table of
/// jumps, when the program has that address taken.)
#[inline(never)]
fn find() -> Option<Find> {
    const UNKNOWN: u8 = 0;
    const OF_LIBC: u8 = 1;
    const OF_PROGRAM: u8 = 2;
    static WHOSE: AtomicU8 = AtomicU8::new(UNKNOWN);
    let at = libcs();
    // Everybody who looks finds the same.
    if WHOSE.load(Ordering::Relaxed) == UNKNOWN {
        let is_own =
            Program::get().is_some_and(|program| !program.is_dynamic() && program.holding(at).is_some());
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
    let Some(find) = find() else { return Object::holding(pc)?.table };
    let mut found = Found { flags: 0, map_start: 0, map_end: 0, link_map: 0, eh_frame: 0, reserved: [0; 11] };
    // SAFETY: a structure to be written, long enough.
    let outcome = unsafe { find(pc, &raw mut found) };
    (outcome == 0 && found.eh_frame != 0).then_some(found.eh_frame)
}

/// The beginning of `struct link_map`, as in `link.h`: the loader's record of an object.
#[repr(C)]
#[derive(Clone, Copy)]
struct LinkMap {
    bias: usize,
    name: *const c_char,
    dynamic: usize,
    next: usize,
}

/// The name of the object in which `pc` lies, empty for the program's own, and how far into it; `None` where nobody tells.
pub(super) fn name_of(pc: usize) -> Option<(&'static CStr, usize)> {
    let mut found = Found { flags: 0, map_start: 0, map_end: 0, link_map: 0, eh_frame: 0, reserved: [0; 11] };
    let Some(find) = find() else {
        let object = Object::holding(pc)?;
        return Some((name_at(object.name)?, pc.wrapping_sub(object.bias)));
    };
    // SAFETY: a structure to be written, long enough.
    if unsafe { find(pc, &raw mut found) } != 0 || found.link_map == 0 {
        return None;
    }
    // SAFETY: the loader's record of an object that is loaded.
    let LinkMap { bias, name, .. } = unsafe { with_exposed_provenance::<LinkMap>(found.link_map).read() };
    Some((name_at(name)?, pc.wrapping_sub(bias)))
}

/// Whether all of `pcs` lie in the object in which `own` lies or in the program, as far as glibc's function tells.
pub(super) fn is_one_object(own: usize, mut pcs: impl Iterator<Item = usize>) -> bool {
    // Where the allocator is a library, glibc's function is no part of the program.
    let find = if super::library::is_apart() {
        // SAFETY: null is `None`, any other value the function's address.
        unsafe { core::mem::transmute::<usize, Option<Find>>(libcs()) }
    } else {
        find()
    };
    let Some(find) = find else { return true };
    let object = |pc: usize| {
        let mut found =
            Found { flags: 0, map_start: 0, map_end: 0, link_map: 0, eh_frame: 0, reserved: [0; 11] };
        // SAFETY: a structure to be written, long enough.
        let outcome = unsafe { find(pc, &raw mut found) };
        if outcome == 0 { found.link_map } else { 0 }
    };
    let is_program = |map: usize| {
        // SAFETY: the loader's record of an object that is loaded.
        let name = unsafe { (*with_exposed_provenance::<LinkMap>(map)).name };
        // SAFETY: a string; the program's is empty.
        (unsafe { *name }) == 0
    };
    let own = object(own);
    own == 0 || is_program(own) || pcs.all(|pc| [own, 0].contains(&object(pc)) || is_program(object(pc)))
}

/// The loader's string at `name`.
fn name_at(name: *const c_char) -> Option<&'static CStr> {
    // SAFETY: a string of the loader's, which stays as long as the object.
    (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) })
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
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PT_PHDR: u32 = 6;
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
const AT_PHDR: u64 = 3;
const AT_PHNUM: u64 = 5;
const DT_NULL: usize = 0;
const DT_DEBUG: usize = 21;
/// So many objects are looked at.
const MOST: usize = 4096;

/// An object that holds an address.
struct Object {
    /// What is to be added to the addresses in its file.
    bias: usize,
    /// The address of its `.eh_frame_hdr`.
    table: Option<usize>,
    /// Its name, a terminated string.
    name: *const c_char,
}

impl Object {
    /// The object that holds `pc`, without help of libc's.
    fn holding(pc: usize) -> Option<Object> {
        let program = Program::get()?;
        program.holding(pc).or_else(|| {
            let nearest = |at: usize| objects(at).filter(|map| map.bias <= pc).max_by_key(|map| map.bias);
            let map = nearest(program.first_map()?)?;
            Object::among(headers_of(map.bias)?, map.bias, map.name, pc)
        })
    }

    /// The object with these headers, if it holds `pc`.
    fn among(
        headers: impl Iterator<Item = Header>,
        bias: usize,
        name: *const c_char,
        pc: usize,
    ) -> Option<Object> {
        let (mut table, mut inside) = (None, false);
        for header in headers {
            let start = header.address.wrapping_add(bias);
            match header.kind {
                PT_GNU_EH_FRAME => table = Some(start),
                PT_LOAD => inside |= pc.wrapping_sub(start) < header.size,
                _ => {}
            }
        }
        inside.then_some(Object { bias, table, name })
    }
}

/// The program itself, as the kernel placed it.
struct Program {
    headers: usize,
    count: usize,
    bias: usize,
}

impl Program {
    fn get() -> Option<Program> {
        let (headers, count) = (linux::auxiliary_value(AT_PHDR), linux::auxiliary_value(AT_PHNUM));
        let program = Program { headers, count, bias: 0 };
        // A static program has no header that tells of the headers; they follow the first bytes of the file then.
        let bias = match program.headers().find(|header| header.kind == PT_PHDR) {
            Some(own) => headers.wrapping_sub(own.address),
            None => {
                let first = program.headers().find(|header| header.kind == PT_LOAD && header.offset == 0)?;
                (headers & !(PAGE - 1)).wrapping_sub(first.address)
            }
        };
        Some(Program { bias, ..program })
    }

    fn headers(&self) -> impl Iterator<Item = Header> + use<> {
        let at = self.headers;
        // SAFETY: so many headers lie there, mapped for ever.
        (0..self.count).map(move |index| unsafe { header_at(at, index) })
    }

    /// Whether a loader is to be started with it.
    fn is_dynamic(&self) -> bool {
        self.headers().any(|header| header.kind == PT_INTERP)
    }

    /// The program, if `pc` lies in it.
    fn holding(&self, pc: usize) -> Option<Object> {
        Object::among(self.headers(), self.bias, c"".as_ptr(), pc)
    }

    /// Where the loader's list of objects begins: it writes that into the program's dynamic section, for debuggers.
    fn first_map(&self) -> Option<usize> {
        let dynamic = self.headers().find(|header| header.kind == PT_DYNAMIC)?;
        let entry = |index: usize| {
            let at = dynamic.address.wrapping_add(self.bias) + index * size_of::<[usize; 2]>();
            // SAFETY: the section is mapped for ever, and an entry of its own ends it.
            unsafe { with_exposed_provenance::<[usize; 2]>(at).read_volatile() }
        };
        let mut entries = (0..).map(entry).take_while(|[tag, _]| *tag != DT_NULL);
        let [_, debug] = entries.find(|[tag, _]| *tag == DT_DEBUG)?;
        // Behind a version number.
        let first = debug + size_of::<usize>();
        if debug == 0 || !linux::is_readable(first) {
            return None;
        }
        // SAFETY: O1.
        Some(unsafe { with_exposed_provenance::<usize>(first).read_volatile() })
    }
}

/// The header with this number in a table of headers.
///
/// # Safety
/// The table lies at `at` and is mapped.
unsafe fn header_at(at: usize, index: usize) -> Header {
    let header = with_exposed_provenance::<Header>(at + index * size_of::<Header>());
    // SAFETY: the caller's promise.
    unsafe { header.read_unaligned() }
}

/// The loader's records from the one at `at` on, as far as they can be read.
fn objects(at: usize) -> impl Iterator<Item = LinkMap> {
    let mut next = at;
    let mut page = 1;
    let mut readable = move |at: usize| {
        if at & !(PAGE - 1) == page {
            return true;
        }
        let yes = at.is_multiple_of(8) && at < usize::MAX / 2 && linux::is_readable(at);
        page = if yes { at & !(PAGE - 1) } else { page };
        yes
    };
    core::iter::from_fn(move || {
        let last = next.checked_add(size_of::<[usize; 3]>())?;
        if next == 0 || !readable(next) || !readable(last) {
            return None;
        }
        // SAFETY: O1: its first and its last word can be read.
        let map = unsafe { with_exposed_provenance::<LinkMap>(next).read_volatile() };
        next = map.next;
        Some(map)
    })
    .take(MOST)
}

/// The headers of the object whose file begins at `at`, as far as they lie on its first page.
fn headers_of(at: usize) -> Option<impl Iterator<Item = Header>> {
    const MAGIC: u32 = u32::from_le_bytes(*b"\x7fELF");
    /// `e_phoff` and `e_phnum`.
    const WHERE: usize = 0x20;
    const COUNT: usize = 0x38;
    if at == 0 || !at.is_multiple_of(PAGE) || !linux::is_readable(at) {
        return None;
    }
    // SAFETY: O1.
    let magic = unsafe { with_exposed_provenance::<u32>(at).read_volatile() };
    // SAFETY: O1.
    let offset = unsafe { with_exposed_provenance::<usize>(at + WHERE).read_volatile() };
    // SAFETY: O1.
    let count = usize::from(unsafe { with_exposed_provenance::<u16>(at + COUNT).read_volatile() });
    if magic != MAGIC || offset > PAGE || count * size_of::<Header>() > PAGE - offset {
        return None;
    }
    // SAFETY: O1: all on the page that can be read.
    Some((0..count).map(move |index| unsafe { header_at(at + offset, index) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_and_libc_have_tables_and_nowhere_has_none() {
        let own = the_program_and_libc_have_tables_and_nowhere_has_none as *const () as usize;
        assert!(unwind_header(own).is_some());
        assert!(unwind_header(libc::getpid as *const () as usize).is_some());
        assert_eq!(unwind_header(16), None);
    }

    #[test]
    fn another_library_than_libc_is_told_from_it() {
        unsafe extern "C" {
            fn _Unwind_GetIP();
        }
        let own = another_library_than_libc_is_told_from_it as *const () as usize;
        let [pid, page, unwind] =
            [libc::getpid as *const (), libc::sysconf as *const (), _Unwind_GetIP as *const ()]
                .map(<*const ()>::addr);
        assert!(is_one_object(pid, [page, own, 16].into_iter()));
        assert!(is_one_object(own, [page, own, unwind].into_iter()));
        // Where glibc tells nothing, all are taken for one.
        assert_eq!(is_one_object(pid, [page, unwind].into_iter()), find().is_none());
    }

    #[test]
    fn the_loaders_list_tells_the_same_as_libc() {
        let own = the_loaders_list_tells_the_same_as_libc as *const () as usize;
        let variable = &raw const ENVIRONMENT as usize;
        let on_the_stack = &raw const own as usize;
        for pc in [own, libc::getpid as *const () as usize, variable, on_the_stack, 16, usize::MAX] {
            let object = Object::holding(pc);
            assert_eq!(object.as_ref().and_then(|object| object.table), unwind_header(pc), "{pc:#x}");
            let named = object.map(|object| (name_at(object.name).unwrap(), pc - object.bias));
            assert_eq!(named, name_of(pc), "{pc:#x}");
        }
        let program = Program::get().unwrap();
        assert!(
            program.holding(own).is_some() && program.holding(libc::getpid as *const () as usize).is_none()
        );
    }

    static ENVIRONMENT: [u8; 100] = [1; 100];

    #[test]
    fn a_list_that_leads_nowhere_ends() {
        let circle = [0usize; 4];
        let mut map = circle;
        map[3] = &raw const map as usize;
        assert_eq!(objects(&raw const map as usize).count(), MOST);
        map[3] = 16;
        assert_eq!(objects(&raw const map as usize).count(), 1);
        assert_eq!(objects(0).count() + objects(usize::MAX - 7).count(), 0);
        assert!(headers_of(&raw const map as usize & !(PAGE - 1)).is_none());
    }
}

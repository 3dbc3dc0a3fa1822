//! The build id of a loaded object: what its file is known by, wherever it lies and whatever has become of it since.
//!
//! # Safety
//!
//! Every word is read only after the kernel found it readable. An object that is being unloaded at this moment could still go
//! in between: the caller reads the kernel's list of mappings right before.
#![allow(unsafe_code)]

use freestone_sys::linux;

/// The longest build id that is kept.
pub(super) const MOST: usize = 32;

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const NT_GNU_BUILD_ID: u32 = 3;

fn word(at: usize) -> Option<u64> {
    let aligned = at & !7;
    if !linux::is_readable(aligned) {
        return None;
    }
    let at = core::ptr::with_exposed_provenance::<u64>(aligned);
    // SAFETY: readable, and aligned.
    Some(unsafe { at.read_volatile() })
}

fn half(at: usize) -> Option<u32> {
    word(at).map(|word| (word >> (8 * (at & 4))) as u32)
}

fn quarter(at: usize) -> Option<u16> {
    word(at).map(|word| (word >> (8 * (at & 6))) as u16)
}

/// The build id of the object whose first bytes, the ELF header, are mapped at `base`; how many bytes it has, 0 when it has
/// none.
pub(super) fn of(base: usize, id: &mut [u8; MOST]) -> usize {
    find(base, id).unwrap_or(0)
}

fn find(base: usize, id: &mut [u8; MOST]) -> Option<usize> {
    const MAGIC: u32 = u32::from_le_bytes(*b"\x7fELF");
    if half(base)? != MAGIC {
        return None;
    }
    let headers = base + word(base + 32)? as usize;
    let (size, count) = (usize::from(quarter(base + 54)?), usize::from(quarter(base + 56)?));
    let each = || (0..count.min(64)).map(|index| headers + index * size);
    let first = each().find(|&at| half(at) == Some(PT_LOAD))?;
    let bias = base.wrapping_sub(word(first + 16)? as usize).wrapping_add(word(first + 8)? as usize);
    for at in each().filter(|&at| half(at) == Some(PT_NOTE)) {
        let mut note = bias.wrapping_add(word(at + 16)? as usize);
        let end = note + word(at + 40)? as usize;
        while note + 12 <= end {
            let (name, len, kind) = (half(note)? as usize, half(note + 4)? as usize, half(note + 8)?);
            let text = note + 12 + name.next_multiple_of(4);
            if kind == NT_GNU_BUILD_ID && half(note + 12)? == u32::from_le_bytes(*b"GNU\0") {
                let len = len.min(MOST);
                for (index, byte) in id[..len].iter_mut().enumerate() {
                    *byte = (half((text + index) & !3)? >> (8 * ((text + index) & 3))) as u8;
                }
                return Some(len);
            }
            note = text + len.next_multiple_of(4);
        }
    }
    None
}

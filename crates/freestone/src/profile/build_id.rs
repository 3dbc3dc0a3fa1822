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

const MAGIC: u32 = u32::from_le_bytes(*b"\x7fELF");
/// In the header of a file of 64 bits: where its table begins, how long an entry is, and how many there are.
const E_PHOFF: usize = 32;
const E_PHENTSIZE: usize = 54;
const E_PHNUM: usize = 56;
/// Entries that are looked at.
const MOST_ENTRIES: usize = 64;
/// In an entry, which begins with its type: where its part lies in the file and in memory, how long it is there, its alignment.
const P_OFFSET: usize = 8;
const P_VADDR: usize = 16;
const P_MEMSZ: usize = 40;
const P_ALIGN: usize = 48;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
/// A note begins with the lengths of its name and of its text, and its kind; the name follows.
const N_NAME: usize = 12;
const NT_GNU_BUILD_ID: u32 = 3;
const GNU: u32 = u32::from_le_bytes(*b"GNU\0");

/// The eight bytes around `at` that begin at a multiple of 8.
fn word(at: usize) -> Option<u64> {
    let aligned = at & !7;
    if !linux::is_readable(aligned) {
        return None;
    }
    let at = core::ptr::with_exposed_provenance::<u64>(aligned);
    // SAFETY: readable, and aligned.
    Some(unsafe { at.read_volatile() })
}

/// Four bytes at a multiple of 4.
fn half(at: usize) -> Option<u32> {
    word(at).map(|word| (word >> (8 * (at & 4))) as u32)
}

/// Two bytes at a multiple of 2.
fn quarter(at: usize) -> Option<u16> {
    word(at).map(|word| (word >> (8 * (at & 6))) as u16)
}

/// The build id of the object whose first bytes, the ELF header, are mapped at `base`; how many bytes it has, 0 when it has
/// none.
pub(super) fn of(base: usize, id: &mut [u8; MOST]) -> usize {
    find(base, id).unwrap_or(0)
}

fn find(base: usize, id: &mut [u8; MOST]) -> Option<usize> {
    if half(base)? != MAGIC {
        return None;
    }
    let headers = base.wrapping_add(word(base + E_PHOFF)? as usize);
    let (size, count) = (usize::from(quarter(base + E_PHENTSIZE)?), usize::from(quarter(base + E_PHNUM)?));
    let each = || (0..count.min(MOST_ENTRIES)).map(|index| headers.wrapping_add(index * size));
    let of_kind = |kind: u32| each().filter(move |&at| half(at) == Some(kind));
    let first = of_kind(PT_LOAD).next()?;
    // What is to be added to the file's addresses: the object's first bytes are its file's first.
    let bias =
        base.wrapping_sub(word(first + P_VADDR)? as usize).wrapping_add(word(first + P_OFFSET)? as usize);
    of_kind(PT_NOTE).find_map(|at| find_in_notes(at, bias, id))
}

/// The same in the notes to which the entry at `at` leads.
fn find_in_notes(at: usize, bias: usize, id: &mut [u8; MOST]) -> Option<usize> {
    let align = if word(at + P_ALIGN)? == 8 { 8 } else { 4 };
    let start = bias.wrapping_add(word(at + P_VADDR)? as usize);
    let end = start.checked_add(word(at + P_MEMSZ)? as usize)?;
    let mut note = start;
    while note + N_NAME < end {
        let (name, len, kind) = (half(note)? as usize, half(note + 4)? as usize, half(note + 8)?);
        let text = (note + N_NAME + name).next_multiple_of(align);
        if kind == NT_GNU_BUILD_ID && half(note + N_NAME)? == GNU {
            let len = len.min(MOST);
            for (index, byte) in id[..len].iter_mut().enumerate() {
                let at = text + index;
                *byte = (half(at & !3)? >> (8 * (at & 3))) as u8;
            }
            return Some(len);
        }
        note = (text + len).next_multiple_of(align);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A note, as long as its lengths say.
    fn note(kind: u32, name: &[u8; 4], text: &[u8], align: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        [4, text.len() as u32, kind].iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        bytes.extend(name);
        bytes.extend(text);
        bytes.resize(bytes.len().next_multiple_of(align), 0);
        bytes
    }

    /// An object whose addresses begin at `vaddr`, with a part of notes for each of `notes`, which are aligned to so many bytes.
    fn object(vaddr: u64, notes: &[(u64, Vec<u8>)]) -> Vec<u64> {
        const HEADER: usize = 64;
        const ENTRY: usize = 56;
        let mut bytes = vec![0; HEADER + ENTRY * (notes.len() + 1)];
        let mut parts = vec![(PT_LOAD, 0, 0x1000, 4096)];
        for (align, part) in notes {
            parts.push((PT_NOTE, bytes.len() as u64, part.len() as u64, *align));
            bytes.extend(part);
        }
        let mut put = |at: usize, of: &[u8]| bytes[at..at + of.len()].copy_from_slice(of);
        put(0, &MAGIC.to_le_bytes());
        put(E_PHOFF, &(HEADER as u64).to_le_bytes());
        put(E_PHENTSIZE, &(ENTRY as u16).to_le_bytes());
        put(E_PHNUM, &(parts.len() as u16).to_le_bytes());
        for (index, (kind, offset, len, align)) in parts.into_iter().enumerate() {
            let at = HEADER + index * ENTRY;
            put(at, &kind.to_le_bytes());
            put(at + P_OFFSET, &offset.to_le_bytes());
            put(at + P_VADDR, &(vaddr + offset).to_le_bytes());
            put(at + P_MEMSZ, &len.to_le_bytes());
            put(at + P_ALIGN, &align.to_le_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.chunks(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap())).collect()
    }

    fn id_of(object: &[u64]) -> Vec<u8> {
        let mut id = [0; MOST];
        let len = of(object.as_ptr().expose_provenance(), &mut id);
        id[..len].to_vec()
    }

    #[test]
    fn the_note_is_found_among_others_wherever_the_object_lies() {
        let id: Vec<u8> = (1..=20).collect();
        let mut together = note(1, b"GNU\0", &[9; 6], 4);
        together.extend(note(NT_GNU_BUILD_ID, b"Xen\0", &[9; 4], 4));
        together.extend(note(NT_GNU_BUILD_ID, b"GNU\0", &id, 4));
        // One of properties before it, whose text is padded to 8 bytes.
        let mut padded = note(5, b"GNU\0", &[9; 12], 8);
        padded.extend(note(NT_GNU_BUILD_ID, b"GNU\0", &id, 8));
        for vaddr in [0, 0x40_0000] {
            assert_eq!(id_of(&object(vaddr, &[(4, together.clone())])), id);
            assert_eq!(id_of(&object(vaddr, &[(8, padded.clone())])), id);
            assert_eq!(
                id_of(&object(vaddr, &[(8, note(5, b"GNU\0", &[9; 12], 8)), (4, together.clone())])),
                id
            );
        }
    }

    #[test]
    fn what_has_no_note_has_no_id_and_long_ones_are_cut() {
        assert_eq!(id_of(&object(0, &[])), []);
        assert_eq!(id_of(&object(0, &[(4, note(1, b"GNU\0", &[9; 6], 4))])), []);
        assert_eq!(id_of(&[0; 64]), []);
        let long = note(NT_GNU_BUILD_ID, b"GNU\0", &[7; 40], 4);
        assert_eq!(id_of(&object(0, &[(4, long)])), [7; MOST]);
        // Lengths and places that lead out of memory.
        let mut wrong = object(0, &[(4, note(NT_GNU_BUILD_ID, b"GNU\0", &[7; 20], 4))]);
        wrong[E_PHOFF / 8] = u64::MAX / 2;
        assert_eq!(id_of(&wrong), []);
        let mut wrong = object(0, &[(4, note(1, b"GNU\0", &[7; 20], 4))]);
        let memsz = (64 + 56 + P_MEMSZ) / 8;
        wrong[memsz] = u64::MAX;
        assert_eq!(id_of(&wrong), []);
    }
}

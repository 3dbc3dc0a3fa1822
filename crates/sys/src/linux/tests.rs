//! The contract of [`System`], tried on the real kernel.

use core::ptr::with_exposed_provenance_mut;

use super::*;

const LEN: usize = 64 << 10;

fn write(addr: usize, value: u8) {
    // SAFETY: callers pass an address in a mapping of their own.
    unsafe { with_exposed_provenance_mut::<u8>(addr).write_volatile(value) }
}

fn read(addr: usize) -> u8 {
    // SAFETY: callers pass an address in a mapping of their own.
    unsafe { with_exposed_provenance_mut::<u8>(addr).read_volatile() }
}

fn release(system: &Linux, addr: usize, len: usize) {
    // SAFETY: the tests' own mapping, not used afterwards.
    unsafe { system.release(addr, len) }.unwrap();
}

#[test]
fn an_occupied_address_is_refused_and_errno_kept() {
    let system = Linux::new();
    // Far from where the kernel puts what names no address: another test's mapping could come to lie there in between.
    let addr = 0x1234 << 32;
    system.map_at(addr, LEN).unwrap();
    Errno(3).set();
    assert_eq!(system.map_at(addr, LEN), Err(Refused::Occupied));
    assert_eq!(Errno::last(), Errno(3));
    release(&system, addr, LEN);
    system.map_at(addr, LEN).unwrap();
    write(addr, 1);
    release(&system, addr, LEN);
    let calls = system.calls();
    assert_eq!((calls.map, calls.refused, calls.bytes_released), (3, 1, 2 * LEN as u64));
}

#[test]
fn purged_pages_read_as_zeros() {
    let system = Linux::new();
    let addr = system.map(LEN).unwrap();
    write(addr + 5, 9);
    // SAFETY: our own mapping.
    unsafe { system.purge(addr, LEN) }.unwrap();
    assert_eq!(read(addr + 5), 0);
    release(&system, addr, LEN);
}

#[test]
fn a_range_is_populated_but_where_writing_is_forbidden_which_says_nothing_of_others() {
    let system = Linux::new();
    let addr = system.map(LEN).unwrap();
    if system.populate(addr, LEN) == Err(Refused::Unsupported) {
        return release(&system, addr, LEN);
    }
    assert_eq!(system.resident_bytes(addr, LEN), LEN);
    // SAFETY: a part of our own mapping, to which nobody writes from here on.
    let forbidden = unsafe { libc::mprotect(pointer(addr + LEN / 2), LEN / 2, libc::PROT_READ) };
    assert_eq!((forbidden, system.populate(addr, LEN)), (0, Err(Refused::Occupied)));
    assert_eq!(system.populate(addr, LEN / 2), Ok(()));
    release(&system, addr, LEN);
}

#[test]
fn a_reservation_can_be_committed_in_parts() {
    let system = Linux::new();
    let addr = system.reserve(1 << 30).unwrap();
    // SAFETY: a part of our own reservation.
    unsafe { system.commit(addr, LEN) }.unwrap();
    write(addr + LEN - 1, 1);
    // SAFETY: as above.
    unsafe { system.commit(addr, 2 * LEN) }.unwrap();
    assert_eq!(read(addr + LEN - 1), 1);
    release(&system, addr, 1 << 30);
}

#[test]
fn moved_pages_keep_their_contents_and_leave_zeros() {
    let system = Linux::new();
    let from = system.map(LEN).unwrap();
    let to = system.map(2 * LEN).unwrap();
    write(from + 7, 42);
    write(to + 7, 1);
    write(to + LEN, 2);
    // SAFETY: both ranges are ours and do not overlap.
    assert_eq!(unsafe { system.move_pages(from, LEN, to) }, Ok(Moved::SourceClean));
    assert_eq!((read(to + 7), read(to + LEN), read(from + 7)), (42, 2, 0));
    release(&system, from, LEN);
    release(&system, to, 2 * LEN);
}

#[test]
fn ever_more_moves_are_left_out_after_each_loss() {
    let left_out = LeftOut::new();
    let lost = (0..100_000).filter(|_| {
        let moves = !left_out.takes_one();
        if moves {
            left_out.note_loss();
        }
        moves
    });
    assert_eq!(lost.take(4).collect::<Vec<_>>(), [0, 1001, 3002, 7003]);
}

/// A range of four mappings, of three lengths, in whose pages their numbers stand.
fn several_mappings(system: &Linux) -> usize {
    let from = system.map(LEN).unwrap();
    for (start, len) in [(LEN / 4, LEN / 8), (LEN / 2, LEN / 2)] {
        // SAFETY: our own mapping, in which nothing changes.
        unsafe { libc::madvise(pointer(from + start), len, libc::MADV_DONTDUMP) };
    }
    numbers(from).for_each(|(at, number)| write(at, number));
    from
}

fn numbers(range: usize) -> impl Iterator<Item = (usize, u8)> {
    (1..).map_while(move |number: u8| {
        let at = (usize::from(number) - 1) * 4096;
        (at < LEN).then_some((range + at, number))
    })
}

#[test]
fn the_mappings_of_a_range_are_told_apart_and_stay_what_they_are() {
    let system = Linux::new();
    let from = several_mappings(&system);
    let (mut at, mut lengths) = (0, Vec::new());
    while at < LEN {
        lengths.push(first_mapping(from + at, LEN - at, 4096));
        at += lengths.last().unwrap();
    }
    assert_eq!(lengths, [LEN / 4, LEN / 8, LEN / 8, LEN / 2]);
    assert!(numbers(from).all(|(at, number)| read(at) == number));
    release(&system, from, LEN);
    // One that could become longer where it is, and does not.
    let addr = 0x1235 << 32;
    system.map_at(addr, LEN).unwrap();
    assert_eq!(first_mapping(addr, LEN, 4096), LEN);
    system.map_at(addr + LEN, LEN).unwrap();
    release(&system, addr, 2 * LEN);
}

#[test]
fn what_is_several_mappings_moves_whole() {
    let system = Linux::new();
    let (from, to) = (several_mappings(&system), system.map(2 * LEN).unwrap());
    write(to + LEN, 2);
    // SAFETY: both ranges are ours and do not overlap.
    assert_eq!(unsafe { system.move_pages(from, LEN, to) }, Ok(Moved::SourceClean));
    assert!(numbers(to).all(|(at, number)| read(at) == number));
    assert!(read(to + LEN) == 2 && numbers(from).all(|(at, _)| read(at) == 0));
    release(&system, from, LEN);
    release(&system, to, 2 * LEN);
}

#[test]
fn what_moved_half_way_is_back_where_it_was() {
    const MSEAL: libc::c_long = 462;
    let system = Linux::new();
    let (from, to) = (several_mappings(&system), system.map(2 * LEN).unwrap());
    // The last of them can never be moved again.
    // SAFETY: our own mapping, which stays for ever.
    if unsafe { libc::syscall(MSEAL, from + LEN / 2, LEN / 2, 0) } != 0 {
        return freestone_testkit::skipped(format_args!("this kernel seals no mappings"));
    }
    // SAFETY: both ranges are ours and do not overlap.
    let (refused, moved) = unsafe { move_mappings(from, LEN, to, 4096) }.unwrap_err();
    assert!(moved == LEN / 2 && numbers(from).all(|(at, number)| read(at) == number));
    if refused == MoveRefused::Unchanged {
        assert!(numbers(to).all(|(at, _)| read(at) == 0));
    }
}

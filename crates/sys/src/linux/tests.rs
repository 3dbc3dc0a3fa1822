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

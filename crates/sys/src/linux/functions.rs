//! libc's functions for memory, as the loader bound them.
//!
//! They are called and not the kernel itself, because libraries for fast networks (UCX, libfabric) watch what maps, drops and unmaps memory: by
//! other code at the beginning of the functions, or as functions of those names that the loader finds before libc's. Both are met.
//!
//! What is not met are functions that somebody writes into a library's table of addresses while the program runs, as memray does to all libraries,
//! ours too. They note every call: with thread-local storage that the allocator's own thread has none of, and under a lock, which another thread may
//! hold that waits for one of ours; and a mapping that serves a thousand blocks is nobody's request. So the addresses are noted when the
//! allocator starts, and not looked up again. A function that the loader found in another library may do the same: where there is one, the
//! allocator has no thread of its own (`addresses`).
//!
//! # Safety
//!
//! Each word of [`NOTED`] is null or the address of the function of its name, stored by [`note`] alone. Each function here is as unsafe as
//! libc's.
#![allow(unsafe_code)]

use core::ffi::{c_int, c_void};
use core::mem::transmute;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

macro_rules! functions {
    ($($name:ident($($argument:ident: $type:ty),* $(; $more:ident: $more_type:ty)?) -> $result:ty;)*) => {
        struct Noted {
            $($name: AtomicPtr<c_void>,)*
        }

        static NOTED: Noted = Noted { $($name: AtomicPtr::new(null_mut()),)* };

        /// Notes where the functions are now.
        #[cold]
        #[inline(never)]
        pub fn note() {
            $(NOTED.$name.store(libc::$name as *mut c_void, Ordering::Relaxed);)*
        }

        /// Where the functions are that are called; and one of libc's that nobody has a reason to define anew.
        #[cold]
        pub fn addresses() -> (impl Iterator<Item = usize>, usize) {
            let called = [$(NOTED.$name.load(Ordering::Relaxed).addr(),)*];
            (called.into_iter(), libc::getauxval as *const () as usize)
        }

        $(
            /// # Safety
            /// As libc's.
            // Placed in all their callers, these would be a half of a page of code that every process maps.
            #[inline(never)]
            pub(super) unsafe fn $name($($argument: $type,)* $($more: $more_type)?) -> $result {
                type Function = functions!(@ $($type),* $(; $more_type)?; $result);
                let mut at = NOTED.$name.load(Ordering::Relaxed);
                if at.is_null() {
                    note();
                    at = NOTED.$name.load(Ordering::Relaxed);
                }
                // SAFETY: not null, so it is the function's address.
                let function = unsafe { transmute::<*mut c_void, Function>(at) };
                // SAFETY: the caller's promise.
                unsafe { function($($argument,)* $($more)?) }
            }
        )*
    };
    (@ $($type:ty),*; $result:ty) => { unsafe extern "C" fn($($type),*) -> $result };
    (@ $($type:ty),*; $more:ty; $result:ty) => { unsafe extern "C" fn($($type,)* ...) -> $result };
}

functions! {
    mmap(addr: *mut c_void, len: usize, protection: c_int, flags: c_int, fd: c_int, offset: libc::off_t) -> *mut c_void;
    munmap(addr: *mut c_void, len: usize) -> c_int;
    mremap(addr: *mut c_void, len: usize, new_len: usize, flags: c_int; to: *mut c_void) -> *mut c_void;
    mprotect(addr: *mut c_void, len: usize, protection: c_int) -> c_int;
    madvise(addr: *mut c_void, len: usize, advice: c_int) -> c_int;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_comes_moves_and_goes() {
        let (len, rw) = (1 << 16, libc::PROT_READ | libc::PROT_WRITE);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a mapping of this test's own.
        let map = || unsafe { mmap(null_mut(), len, rw, flags, -1, 0) };
        let (from, to) = (map(), map());
        assert!(from != libc::MAP_FAILED && to != libc::MAP_FAILED);
        // SAFETY: as above.
        unsafe { from.cast::<u8>().write(7) };
        // SAFETY: as above; the second is replaced by the first.
        let moved = unsafe { mremap(from, len, len, libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, to) };
        assert_eq!(moved, to);
        // SAFETY: it is mapped.
        assert_eq!(unsafe { to.cast::<u8>().read() }, 7);
        // SAFETY: nobody relies on what is in it.
        assert_eq!(unsafe { madvise(to, len, libc::MADV_DONTNEED) }, 0);
        // SAFETY: it is mapped.
        assert_eq!(unsafe { to.cast::<u8>().read() }, 0);
        // SAFETY: nobody uses it any more.
        assert_eq!(unsafe { mprotect(to, len, libc::PROT_NONE) }, 0);
        // SAFETY: as above.
        assert_eq!(unsafe { munmap(to, len) }, 0);
    }
}

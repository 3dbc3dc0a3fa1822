//! System calls by the processor's own instruction, not by libc's functions.
//!
//! Whatever a program calls, a preloaded library may define anew: libfaketime has a `clock_gettime`, torsocks a `syscall` that waits
//! for a lock while it is being set up and refuses what it does not know. They allocate, use thread-local storage of their own, which the
//! allocator's own thread has none of, or answer what is not so. No call that goes to the kernel by itself meets them.
//!
//! What maps, unmaps or drops memory (`mmap`, `munmap`, `mremap`, `madvise` of the allocator's own memory) is called by libc's functions all the same
//! (`functions.rs`): libraries for fast networks watch these, to forget what they had registered of the memory.
//!
//! # Safety
//!
//! [`syscall`] is as unsafe as the call that it is told to make; it touches no memory itself.
#![allow(unsafe_code)]

use libc::c_long;

use super::errno::Errno;

/// What can be an argument of a system call.
pub(super) trait Argument {
    fn word(self) -> usize;
}

macro_rules! numbers {
    ($($type:ty),*) => {
        $(impl Argument for $type {
            #[inline(always)]
            fn word(self) -> usize {
                self as usize
            }
        })*
    };
}
numbers!(i32, u32, i64, u64, isize, usize);

impl<T> Argument for *const T {
    #[inline(always)]
    fn word(self) -> usize {
        self.expose_provenance()
    }
}

impl<T> Argument for *mut T {
    #[inline(always)]
    fn word(self) -> usize {
        self.expose_provenance()
    }
}

/// Makes the system call of that number, and returns what it returned; -1 with `errno` set where it failed. As libc's `syscall`.
macro_rules! syscall {
    ($number:expr $(,)?) => {
        $crate::linux::call::call0($number)
    };
    ($number:expr, $a:expr $(,)?) => {
        $crate::linux::call::call1($crate::linux::call::Argument::word($a), $number)
    };
    ($number:expr, $a:expr, $b:expr $(,)?) => {
        $crate::linux::call::call2(
            $crate::linux::call::Argument::word($a),
            $crate::linux::call::Argument::word($b),
            $number,
        )
    };
    ($number:expr, $a:expr, $b:expr, $c:expr $(,)?) => {
        $crate::linux::call::call3(
            $crate::linux::call::Argument::word($a),
            $crate::linux::call::Argument::word($b),
            $crate::linux::call::Argument::word($c),
            $number,
        )
    };
    ($number:expr, $a:expr, $b:expr, $c:expr, $d:expr $(,)?) => {
        $crate::linux::call::call4(
            $crate::linux::call::Argument::word($a),
            $crate::linux::call::Argument::word($b),
            $crate::linux::call::Argument::word($c),
            $crate::linux::call::Argument::word($d),
            $number,
        )
    };
    ($number:expr, $a:expr, $b:expr, $c:expr, $d:expr, $e:expr $(,)?) => {
        $crate::linux::call::call5(
            $crate::linux::call::Argument::word($a),
            $crate::linux::call::Argument::word($b),
            $crate::linux::call::Argument::word($c),
            $crate::linux::call::Argument::word($d),
            $crate::linux::call::Argument::word($e),
            $number,
        )
    };
    ($number:expr, $a:expr, $b:expr, $c:expr, $d:expr, $e:expr, $f:expr $(,)?) => {
        $crate::linux::call::call6(
            $crate::linux::call::Argument::word($a),
            $crate::linux::call::Argument::word($b),
            $crate::linux::call::Argument::word($c),
            $crate::linux::call::Argument::word($d),
            $crate::linux::call::Argument::word($e),
            $crate::linux::call::Argument::word($f),
            $number,
        )
    };
}
pub(super) use syscall;

/// The functions that the macro calls, by how many arguments there are: not placed in their many callers, because what runs often is to stay in few pages.
macro_rules! calls {
    ($($name:ident($($argument:ident),*);)*) => {
        $(
            /// # Safety
            /// As the call itself.
            #[inline(never)]
            pub(super) unsafe fn $name($($argument: usize,)* number: c_long) -> c_long {
                // SAFETY: the caller's promise.
                let returned = unsafe { enter(number, six([$($argument),*])) };
                // Errors are small negative numbers.
                if (-4095..0).contains(&returned) {
                    Errno(-returned as i32).set();
                    return -1;
                }
                returned as c_long
            }
        )*
    };
}
calls! {
    call0();
    call1(a);
    call2(a, b);
    call3(a, b, c);
    call4(a, b, c, d);
    call5(a, b, c, d, e);
    call6(a, b, c, d, e, f);
}

/// Arguments, and zeros for those that are not given.
#[inline(always)]
fn six<const N: usize>(arguments: [usize; N]) -> [usize; 6] {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&arguments);
    all
}

/// # Safety
/// As the call itself.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn enter(number: c_long, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    let returned;
    // SAFETY: the caller's promise. The kernel changes the result and two registers.
    unsafe {
        core::arch::asm!(
            "syscall",
            inout("rax") number as isize => returned,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            out("rcx") _, out("r11") _,
            options(nostack)
        );
    }
    returned
}

/// # Safety
/// As the call itself.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn enter(number: c_long, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    let returned;
    // SAFETY: the caller's promise. The kernel changes the result only.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") number,
            inout("x0") a => returned,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack)
        );
    }
    returned
}

/// # Safety
/// As the call itself.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn enter(number: c_long, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    // SAFETY: the caller's promise.
    let returned = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if returned == -1 { -(Errno::last().0 as isize) } else { returned as isize }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_and_errors_are_as_libcs() {
        // SAFETY: no arguments.
        assert_eq!(unsafe { syscall!(libc::SYS_getpid) }, c_long::from(std::process::id()));
        Errno(0).set();
        // SAFETY: no such descriptor.
        assert_eq!(unsafe { syscall!(libc::SYS_close, -1) }, -1);
        assert_eq!(Errno::last(), Errno(libc::EBADF));
    }

    #[test]
    fn all_six_arguments_arrive() {
        let (flags, none) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1);
        // SAFETY: a mapping of its own.
        let at = unsafe { syscall!(libc::SYS_mmap, 0usize, 4096usize, libc::PROT_READ, flags, none, 0usize) };
        assert!(at > 0);
        // SAFETY: as above, and nobody uses it.
        assert_eq!(unsafe { syscall!(libc::SYS_munmap, at, 4096usize) }, 0);
    }
}

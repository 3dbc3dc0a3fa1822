//! C's `malloc` and `free` where no restartable sequences are written for the processor: there is nothing that the cache of a CPU
//! could serve, so whoever defines the symbols begins with the slow way, which looks into the thread's cache first.
//!
//! The macros take what those of `front_c.rs` take.

/// Defines a function `(size: usize) -> *mut u8`, exported as the given symbol, that leaves all to the function `slow`, of the same type.
#[macro_export]
#[doc(hidden)]
macro_rules! define_malloc {
    ($(@fetching)? $(#[$attribute:meta])* $name:ident, $symbol:literal, $slow:path) => {
        $(#[$attribute])*
        #[unsafe(export_name = $symbol)]
        pub extern "C-unwind" fn $name(size: usize) -> *mut u8 {
            $slow(size)
        }
    };
}

/// Defines a function `(block: *mut u8)`, exported as the given symbol, that leaves all to `slow`; with a second argument, named and
/// passed on, it is a free with a size. `@with` takes what comes first, which is assembly elsewhere: a comparison of a base's answer, and who is
/// called where it is another.
#[macro_export]
#[doc(hidden)]
macro_rules! define_free {
    ($(#[$attribute:meta])* $name:ident, $symbol:literal) => {
        $crate::define_free! { $(#[$attribute])* $name, $symbol, $crate::raw::free_slow, }
    };
    ($(#[$attribute:meta])* $name:ident, $symbol:literal, $slow:path, $($size:ident)?) => {
        $(#[$attribute])*
        #[unsafe(export_name = $symbol)]
        pub unsafe extern "C" fn $name(block: *mut u8 $(, $size: usize)?) {
            // SAFETY: the caller's promise.
            unsafe { $slow(block $(, $size)?) }
        }
    };
    (@with $(#[$attribute:meta])* $name:ident, $slow:path, $($size:ident)?, [$($before:literal),*]
     [base = sym $base:path, answer = const $answer:path, own = const $own:path, other = sym $other:path]) => {
        $(#[$attribute])*
        pub unsafe extern "C" fn $name(block: *mut u8 $(, $size: usize)?) {
            let _ = ($answer, $own);
            if !$base.is_own() {
                // SAFETY: the caller's promise.
                return unsafe { $other(block $(, $size)?) };
            }
            // SAFETY: the caller's promise.
            unsafe { $slow(block $(, $size)?) }
        }
    };
}

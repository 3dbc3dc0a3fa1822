//! The operators of C++: every `new` and `delete`, by their mangled names.
//!
//! A `new` that may throw asks the new-handler until there is memory, then throws `std::bad_alloc`. Handler and
//! exception come from the C++ runtime, which is found when it is needed: a C program has none. An exception passes
//! through these frames and no others of ours, hence `C-unwind`, and nothing here has a destructor.
//!
//! A delete with a size goes by the size alone: the class follows from what was passed to `new`.
//!
//! A program may replace some of the operators with its own. By the standard, those that it leaves alone call the ones
//! that it replaced: `new[]` and nothrow `new` call `new`, every `delete` calls the plain one of its alignment. So
//! each of these looks whether its base is still ours (`base.rs`) before it takes the short way.
//!
//! # Safety
//!
//! As `c.rs`; a sized delete is passed the size and alignment of its `new`.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ffi::c_void;

use freestone::raw::{self, Call};

use crate::base::{self, Base};
use crate::unwind::{self, weak};

/// `std::nothrow_t const&`: an address that nobody looks at.
type NoThrow = *const c_void;
type Handler = Option<extern "C-unwind" fn()>;

/// No memory for `new`: calls the new-handler and returns, or throws.
#[cold]
extern "C-unwind" fn handle_refusal() {
    let get = weak!("_ZSt15get_new_handlerv" as extern "C-unwind" fn() -> Handler);
    if let Some(handler) = get.and_then(|get| get()) {
        return handler();
    }
    unwind::throw_bad_alloc()
}

#[cold]
extern "C-unwind" fn new_slow(size: usize, align: usize) -> *mut u8 {
    loop {
        handle_refusal();
        let block = if align == DEFAULT {
            raw::malloc_by(size, Call::New)
        } else {
            raw::aligned_by(size, align, Call::AlignedNew)
        };
        if !block.is_null() {
            return block;
        }
    }
}

/// Stands for the alignment of a `new` that states none.
const DEFAULT: usize = 0;

/// No memory for a `new` that must not throw: the same, with whatever is thrown caught.
#[cold]
fn nothrow_slow(size: usize, align: usize) -> *mut u8 {
    unwind::catching(new_slow, size, align)
}

#[inline(always)]
fn new_array(size: usize) -> *mut u8 {
    let block = raw::malloc_by(size, Call::NewArray);
    if block.is_null() { new_slow(size, DEFAULT) } else { block }
}

#[inline(always)]
fn new_aligned(size: usize, align: usize, call: Call) -> *mut u8 {
    let block = raw::aligned_by(size, align, call);
    if block.is_null() { new_slow(size, align) } else { block }
}

/// What the fast path of `operator new` leaves, but for the usual case of observed requests.
extern "C-unwind" fn new_unusual(size: usize) -> *mut u8 {
    let block = raw::new_slow(size);
    if block.is_null() { new_slow(size, DEFAULT) } else { block }
}

/// What of an observed request was counted already.
#[cfg(target_arch = "x86_64")]
extern "C-unwind" fn new_counted(size: usize) -> *mut u8 {
    let block = raw::new_counted(size);
    if block.is_null() { new_slow(size, DEFAULT) } else { block }
}

#[cfg(target_arch = "x86_64")]
freestone::define_malloc_slow! {
    /// What the fast path of `operator new` leaves.
    new_first, "C-unwind", new_unusual, new_unusual, new_counted, new_unusual, new_unusual
}

#[cfg(not(target_arch = "x86_64"))]
use new_unusual as new_first;

#[inline(always)]
fn new_aligned_derived(size: usize, align: usize, call: Call) -> *mut u8 {
    if base::NEW_ALIGNED.is_own() { new_aligned(size, align, call) } else { call_new_aligned(size, align) }
}

#[inline(always)]
unsafe fn delete_aligned(block: *mut u8, align: usize, call: Call) {
    // SAFETY: the caller's promise.
    unsafe { raw::free_by(block, call, None, Some(align)) }
}

unsafe fn delete_derived(block: *mut u8, call: Call) {
    if base::DELETE.is_own() {
        // SAFETY: the caller's promise.
        unsafe { raw::free_by(block, call, None, None) }
    } else {
        // SAFETY: the caller's promise.
        unsafe { call_delete(block) }
    }
}

/// A sized delete of which it is not known, or not so, that it may go the short way.
unsafe extern "C" fn delete_sized(block: *mut u8, size: usize) {
    // SAFETY: the caller's promise.
    unsafe { delete_sized_by(block, size, Call::New) }
}

/// The same of an array.
unsafe extern "C" fn delete_array_sized(block: *mut u8, size: usize) {
    // SAFETY: the caller's promise.
    unsafe { delete_sized_by(block, size, Call::NewArray) }
}

unsafe fn delete_sized_by(block: *mut u8, size: usize, call: Call) {
    if base::DELETE.is_own() {
        // SAFETY: the caller's promise.
        unsafe { raw::free_by(block, call, Some(size), None) }
    } else {
        // SAFETY: the caller's promise.
        unsafe { call_delete(block) }
    }
}

#[inline(always)]
unsafe fn delete_aligned_derived(block: *mut u8, align: usize, call: Call) {
    if base::DELETE_ALIGNED.is_own() {
        // SAFETY: the caller's promise.
        unsafe { raw::free_by(block, call, None, Some(align)) }
    } else {
        // SAFETY: the caller's promise.
        unsafe { call_delete_aligned(block, align) }
    }
}

/// Calls whatever the program has as `operator new(size_t)`.
#[cold]
extern "C-unwind" fn call_new(size: usize, _align: usize) -> *mut u8 {
    base::address!("_Znwm" as extern "C-unwind" fn(usize) -> *mut u8)(size)
}

/// Calls whatever the program has as `operator new(size_t, align_val_t)`.
#[cold]
extern "C-unwind" fn call_new_aligned(size: usize, align: usize) -> *mut u8 {
    base::address!("_ZnwmSt11align_val_t" as extern "C-unwind" fn(usize, usize) -> *mut u8)(size, align)
}

/// Calls whatever the program has as `operator delete(void*)`.
#[cold]
unsafe fn call_delete(block: *mut u8) {
    base::address!("_ZdlPv" as extern "C" fn(*mut u8))(block);
}

/// Calls whatever the program has as `operator delete(void*, align_val_t)`.
#[cold]
unsafe fn call_delete_aligned(block: *mut u8, align: usize) {
    base::address!("_ZdlPvSt11align_val_t" as extern "C" fn(*mut u8, usize))(block, align);
}

#[inline(always)]
unsafe fn delete_aligned_sized(block: *mut u8, size: usize, align: usize, call: Call) {
    if raw::is_debugging() {
        // SAFETY: the caller's promise.
        return unsafe { raw::free_by(block, call, Some(size), Some(align)) };
    }
    match Layout::from_size_align(size, align.max(16)) {
        // SAFETY: the caller's promise: the size and alignment of its `new`.
        Ok(layout) if !block.is_null() => unsafe { raw::free_layout(block, layout) },
        // SAFETY: the caller's promise.
        _ => unsafe { raw::free(block) },
    }
}

macro_rules! operators {
    ($($new_nothrow:ident $new_aligned:ident $new_aligned_nothrow:ident
       $delete_sized:ident $delete_aligned:ident $delete_aligned_sized:ident
       $delete_nothrow:ident $delete_aligned_nothrow:ident, $what:literal, $call:expr, $aligned_call:expr, $sized_slow:path, $sized_other:path,
       $new_aligned_body:expr, $delete_aligned_body:expr;)*) => {$(
        #[doc = concat!("`operator new", $what, "(size_t, nothrow)`.")]
        #[unsafe(no_mangle)]
        pub extern "C" fn $new_nothrow(size: usize, _: NoThrow) -> *mut u8 {
            if !base::NEW.is_own() {
                return unwind::catching(call_new, size, DEFAULT);
            }
            let block = raw::malloc_by(size, $call);
            if block.is_null() { nothrow_slow(size, DEFAULT) } else { block }
        }

        #[doc = concat!("`operator new", $what, "(size_t, align_val_t)`.")]
        #[unsafe(no_mangle)]
        pub extern "C-unwind" fn $new_aligned(size: usize, align: usize) -> *mut u8 {
            $new_aligned_body(size, align, $aligned_call)
        }

        #[doc = concat!("`operator new", $what, "(size_t, align_val_t, nothrow)`.")]
        #[unsafe(no_mangle)]
        pub extern "C" fn $new_aligned_nothrow(size: usize, align: usize, _: NoThrow) -> *mut u8 {
            if !base::NEW_ALIGNED.is_own() {
                return unwind::catching(call_new_aligned, size, align);
            }
            let block = raw::aligned_by(size, align, $aligned_call);
            if block.is_null() { nothrow_slow(size, align) } else { block }
        }

        // Looking the class up takes no longer than working it out; the size is looked at in hardened and debug mode.
        freestone::define_free! {
            @with
            #[doc = concat!("`operator delete", $what, "(void*, size_t)`.")]
            ///
            /// # Safety
            /// `block` is null or came from the matching `new` for this size.
            #[unsafe(no_mangle)]
            $delete_sized, $sized_slow, size,
            ["cmp byte ptr [rip + {base} + {answer}], {own}", "jne {other}"]
            [base = sym base::DELETE, answer = const Base::ANSWER, own = const base::OWN, other = sym $sized_other]
        }

        #[doc = concat!("`operator delete", $what, "(void*, align_val_t)`.")]
        ///
        /// # Safety
        /// `block` is null or came from the matching `new`.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $delete_aligned(block: *mut u8, align: usize) {
            // SAFETY: the caller's promise.
            unsafe { $delete_aligned_body(block, align, $aligned_call) }
        }

        #[doc = concat!("`operator delete", $what, "(void*, size_t, align_val_t)`.")]
        ///
        /// # Safety
        /// `block` is null or came from the matching `new` for this size and alignment.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $delete_aligned_sized(block: *mut u8, size: usize, align: usize) {
            if !base::DELETE_ALIGNED.is_own() {
                // SAFETY: the caller's promise.
                return unsafe { call_delete_aligned(block, align) };
            }
            // SAFETY: the caller's promise.
            unsafe { delete_aligned_sized(block, size, align, $aligned_call) }
        }

        #[doc = concat!("`operator delete", $what, "(void*, nothrow)`.")]
        ///
        /// # Safety
        /// `block` is null or came from the matching `new`.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $delete_nothrow(block: *mut u8, _: NoThrow) {
            // SAFETY: the caller's promise.
            unsafe { delete_derived(block, $call) }
        }

        #[doc = concat!("`operator delete", $what, "(void*, align_val_t, nothrow)`.")]
        ///
        /// # Safety
        /// `block` is null or came from the matching `new`.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $delete_aligned_nothrow(block: *mut u8, align: usize, _: NoThrow) {
            // SAFETY: the caller's promise.
            unsafe { delete_aligned_derived(block, align, $aligned_call) }
        }
    )*};
}

freestone::define_malloc! {
    @fetching
    /// `operator new(size_t)`.
    operator_new, "_Znwm", new_first
}

/// `operator new[](size_t)`.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn _Znam(size: usize) -> *mut u8 {
    if base::NEW.is_own() { new_array(size) } else { call_new(size, DEFAULT) }
}

freestone::define_free! {
    /// `operator delete(void*)`.
    ///
    /// # Safety
    /// `block` is null or came from `new`.
    operator_delete, "_ZdlPv", raw::delete_slow,
}

/// `operator delete[](void*)` of which it is not known, or not so, that it may go the short way.
unsafe extern "C" fn delete_array(block: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { delete_derived(block, Call::NewArray) }
}

freestone::define_free! {
    @with
    /// `operator delete[](void*)`.
    ///
    /// # Safety
    /// `block` is null or came from `new[]`.
    #[unsafe(no_mangle)]
    _ZdaPv, raw::delete_array_slow, ,
    ["cmp byte ptr [rip + {base} + {answer}], {own}", "jne {other}"]
    [base = sym base::DELETE, answer = const Base::ANSWER, own = const base::OWN, other = sym delete_array]
}

operators! {
    _ZnwmRKSt9nothrow_t _ZnwmSt11align_val_t _ZnwmSt11align_val_tRKSt9nothrow_t
    _ZdlPvm _ZdlPvSt11align_val_t _ZdlPvmSt11align_val_t
    _ZdlPvRKSt9nothrow_t _ZdlPvSt11align_val_tRKSt9nothrow_t, "", Call::New, Call::AlignedNew, raw::delete_sized_slow, delete_sized,
    new_aligned, delete_aligned;

    _ZnamRKSt9nothrow_t _ZnamSt11align_val_t _ZnamSt11align_val_tRKSt9nothrow_t
    _ZdaPvm _ZdaPvSt11align_val_t _ZdaPvmSt11align_val_t
    _ZdaPvRKSt9nothrow_t _ZdaPvSt11align_val_tRKSt9nothrow_t, "[]", Call::NewArray, Call::AlignedNewArray, raw::delete_array_sized_slow, delete_array_sized,
    new_aligned_derived, delete_aligned_derived;
}

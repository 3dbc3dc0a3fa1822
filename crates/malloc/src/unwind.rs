//! Throwing and catching on behalf of C++, whose runtime is found when it is needed.
//!
//! All of the runtime's functions are weak references: a C program has none of them, a dynamic C++ program has all, a
//! static one those that it uses itself.
//!
//! # Safety
//!
//! - U1: a weak symbol, where it is defined, is the function or object of that name in the Itanium C++ ABI, with the type
//!   written here.
//! - U2: the frames that an exception passes through are `C-unwind` functions without destructors, and the
//!   assembly below, whose unwind information is complete.
#![allow(unsafe_code)]

use core::ffi::{c_int, c_void};

use freestone_sys::linux::{control, write_all};

/// The address of a weak symbol as an optional function pointer or reference.
macro_rules! weak {
    ($name:literal as $type:ty) => {{
        let address: *const core::ffi::c_void;
        // SAFETY: reads the address of a weak symbol, null where nobody defines it.
        unsafe {
            core::arch::asm!(concat!(".weak ", $name), $crate::base::load_address!($name),
                 out(reg) address, options(nostack, preserves_flags));
        }
        // SAFETY: U1; a function pointer or reference with a niche at null has the same representation.
        unsafe { core::mem::transmute::<*const core::ffi::c_void, Option<$type>>(address) }
    }};
}
pub(crate) use weak;

type Throw = extern "C-unwind" fn(*mut c_void, *const c_void, *const c_void) -> !;

/// Throws `std::bad_alloc`: by libstdc++'s own function, else piece by piece as a compiler would.
pub(crate) extern "C-unwind" fn throw_bad_alloc() -> ! {
    if let Some(throw) = weak!("_ZSt17__throw_bad_allocv" as extern "C-unwind" fn() -> !) {
        throw();
    }
    if let (Some(allocate), Some(throw), Some(type_info), Some(vtable), Some(destructor)) = (
        weak!("__cxa_allocate_exception" as extern "C" fn(usize) -> *mut *const c_void),
        weak!("__cxa_throw" as Throw),
        weak!("_ZTISt9bad_alloc" as &'static c_void),
        weak!("_ZTVSt9bad_alloc" as &'static c_void),
        weak!("_ZNSt9bad_allocD1Ev" as &'static c_void),
    ) {
        let exception = allocate(size_of::<*const c_void>());
        // The object is one pointer, behind the two words that head a virtual table.
        let table = core::ptr::from_ref(vtable).wrapping_byte_add(16);
        // SAFETY: U1: the runtime gave room for that many bytes.
        unsafe { exception.write(table) };
        throw(exception.cast(), type_info, destructor);
    }
    write_all(2, b"freestone: operator new: out of memory, and no C++ runtime to throw std::bad_alloc\n");
    control::abort()
}

unsafe extern "C-unwind" {
    /// Calls `work(size, align)`; null when it ends by an exception.
    fn freestone_call_catching(
        work: extern "C-unwind" fn(usize, usize) -> *mut u8,
        size: usize,
        align: usize,
    ) -> *mut u8;
    /// Where an exception lands. Never called.
    fn freestone_landing();
}

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".pushsection .text.freestone_call_catching, \"ax\", @progbits",
    ".globl freestone_call_catching, freestone_landing",
    ".hidden freestone_call_catching, freestone_landing",
    ".type freestone_call_catching, @function",
    "freestone_call_catching:",
    ".cfi_startproc",
    ".cfi_personality 0x1b, {catch_all}",
    "sub rsp, 8",
    ".cfi_adjust_cfa_offset 8",
    "mov rax, rdi",
    "mov rdi, rsi",
    "mov rsi, rdx",
    "call rax",
    "22:",
    "add rsp, 8",
    ".cfi_adjust_cfa_offset -8",
    "ret",
    ".cfi_adjust_cfa_offset 8",
    "freestone_landing:",
    "mov rdi, rax",
    "call {swallow}",
    "xor eax, eax",
    "jmp 22b",
    ".cfi_endproc",
    ".size freestone_call_catching, . - freestone_call_catching",
    ".popsection",
    catch_all = sym catch_all,
    swallow = sym swallow,
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".pushsection .text.freestone_call_catching, \"ax\", @progbits",
    ".globl freestone_call_catching, freestone_landing",
    ".hidden freestone_call_catching, freestone_landing",
    ".type freestone_call_catching, @function",
    "freestone_call_catching:",
    ".cfi_startproc",
    ".cfi_personality 0x1b, {catch_all}",
    "stp x29, x30, [sp, #-16]!",
    ".cfi_def_cfa_offset 16",
    ".cfi_offset 29, -16",
    ".cfi_offset 30, -8",
    "mov x9, x0",
    "mov x0, x1",
    "mov x1, x2",
    "blr x9",
    "22:",
    ".cfi_remember_state",
    "ldp x29, x30, [sp], #16",
    ".cfi_restore 29",
    ".cfi_restore 30",
    ".cfi_def_cfa_offset 0",
    "ret",
    ".cfi_restore_state",
    "freestone_landing:",
    "bl {swallow}",
    "mov x0, xzr",
    "b 22b",
    ".cfi_endproc",
    ".size freestone_call_catching, . - freestone_call_catching",
    ".popsection",
    catch_all = sym catch_all,
    swallow = sym swallow,
);

/// Runs `work(size, align)`, null when it throws. The exception is caught and forgotten.
pub(crate) fn catching(
    work: extern "C-unwind" fn(usize, usize) -> *mut u8,
    size: usize,
    align: usize,
) -> *mut u8 {
    // SAFETY: U2.
    unsafe { freestone_call_catching(work, size, align) }
}

/// The personality routine of `freestone_call_catching`: every exception ends there. (Itanium C++ ABI, level I.)
extern "C" fn catch_all(
    _version: c_int,
    actions: c_int,
    _class: u64,
    exception: *mut c_void,
    context: *mut c_void,
) -> c_int {
    const SEARCH_PHASE: c_int = 1;
    const HANDLER_FRAME: c_int = 4;
    const HANDLER_FOUND: c_int = 6;
    const INSTALL_CONTEXT: c_int = 7;
    const CONTINUE_UNWIND: c_int = 8;
    // By DWARF's numbers, on x86-64 and on aarch64: what a function returns, or takes first.
    const RESULT: c_int = 0;
    let set_register = weak!("_Unwind_SetGR" as extern "C" fn(*mut c_void, c_int, usize));
    let set_address = weak!("_Unwind_SetIP" as extern "C" fn(*mut c_void, usize));
    let (Some(set_register), Some(set_address)) = (set_register, set_address) else { return CONTINUE_UNWIND };
    if actions & SEARCH_PHASE != 0 {
        return HANDLER_FOUND;
    }
    if actions & HANDLER_FRAME == 0 {
        return CONTINUE_UNWIND;
    }
    set_register(context, RESULT, exception.expose_provenance());
    set_address(context, freestone_landing as *const () as usize);
    INSTALL_CONTEXT
}

/// Ends a caught exception.
extern "C" fn swallow(exception: *mut c_void) {
    if let (Some(begin), Some(end)) = (
        weak!("__cxa_begin_catch" as extern "C" fn(*mut c_void) -> *mut c_void),
        weak!("__cxa_end_catch" as extern "C" fn()),
    ) {
        begin(exception);
        end();
    }
}

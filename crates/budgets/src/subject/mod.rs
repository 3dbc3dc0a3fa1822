//! What the subjects have in common: the counted call, and a thread area that no kernel writes to.
//!
//! # Safety
//!
//! - B1: the breakpoints of `counted` are met only while a tracer is there: [`run`] asks for one first.
//! - B2: a [`Function`] is called with arguments of its own type, in registers; at most three integers or pointers, of which
//!   it may take fewer.
//! - B3: the area taken from the kernel is the calling thread's, the only one, and outside of any sequence.
#![allow(unsafe_code)]

pub mod c;
pub mod code;
pub mod rust;

use std::process::ExitCode;

use freestone_sys::linux;

/// The exit status that says "cannot be counted on this machine"; the reason is on standard error.
pub const CANNOT: u8 = 77;
/// The exit status for a case that there is not.
pub const UNKNOWN: u8 = 2;
/// How often a case is counted, to see that the count is always the same.
pub const ROUNDS: usize = 4;
/// Seconds that a subject may take.
const LIMIT_S: u32 = 60;
/// Calls before the first counted one: enough for every class's cache to have blocks and room.
const WARM_UP: usize = 300;

/// The counted function's address.
#[derive(Clone, Copy)]
pub struct Function(*const ());

impl Function {
    /// Of a function in this program.
    pub fn at(address: *const ()) -> Function {
        Function(address)
    }

    /// By a symbol's name, as the dynamic linker resolves it.
    pub fn named(symbol: &std::ffi::CStr) -> Function {
        // SAFETY: the name ends with a zero.
        Function(unsafe { libc::dlsym(libc::RTLD_DEFAULT, symbol.as_ptr()) }.cast_const().cast())
    }

    /// Calls it. For calls that are not counted.
    fn call(self, arguments: [usize; 3]) -> usize {
        let [first, second, third] = arguments;
        assert!(!self.0.is_null(), "a function is missing: is the library preloaded?");
        // SAFETY: B2, stated by whoever made the case.
        let function: extern "C" fn(usize, usize, usize) -> usize = unsafe { std::mem::transmute(self.0) };
        function(first, second, third)
    }
}

/// Calls `function` with three arguments; a breakpoint tells the tracer to count from the call to its return. The call stands right
/// behind the breakpoint, and is two bytes long.
#[unsafe(naked)]
extern "C" fn counted(function: *const (), first: usize, second: usize, third: usize) -> usize {
    core::arch::naked_asm!(
        "sub rsp, 8", // the stack is aligned to 16 at a call
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "int3",
        "call rax",
        "add rsp, 8",
        "ret",
    )
}

/// One case: `before` makes the arguments, `function` is counted, `after` undoes it, told the arguments and the result.
pub struct Case {
    /// As in the table.
    pub name: &'static str,
    /// What is counted.
    pub function: Function,
    /// Makes the arguments.
    pub before: fn() -> [usize; 3],
    /// Undoes the call.
    pub after: fn([usize; 3], usize),
}

impl Case {
    fn round(&self, call: impl FnOnce([usize; 3]) -> usize) {
        let arguments = (self.before)();
        let result = call(arguments);
        (self.after)(arguments, result);
    }
}

/// The whole of a subject's `main`: runs the case that the first argument names, or lists all.
pub fn run(cases: &[Case]) -> ExitCode {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    if wanted == "--list" {
        for case in cases {
            println!("{}", case.name);
        }
        return ExitCode::SUCCESS;
    }
    let Some(case) = cases.iter().find(|case| case.name == wanted) else {
        eprintln!("no case {wanted:?}; --list tells them");
        return ExitCode::from(UNKNOWN);
    };
    if let Err(reason) = leave_the_kernel().and_then(|()| ask_for_tracer()) {
        eprintln!("{reason}");
        return ExitCode::from(CANNOT);
    }
    // SAFETY: takes no pointers. A subject that hangs shall not hang its tracer.
    unsafe { libc::alarm(LIMIT_S) };
    for _ in 0..WARM_UP {
        case.round(|arguments| case.function.call(arguments));
    }
    for _ in 0..ROUNDS {
        // B1, by `ask_for_tracer`.
        case.round(|[first, second, third]| counted(case.function.0, first, second, third));
    }
    ExitCode::SUCCESS
}

fn ask_for_tracer() -> Result<(), &'static str> {
    // SAFETY: takes no pointers.
    let answer = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
    if answer == 0 { Ok(()) } else { Err("ptrace is forbidden here") }
}

/// Takes the thread's area back from the kernel and numbers its cache 0.
fn leave_the_kernel() -> Result<(), &'static str> {
    const SIGNATURE: u32 = 0x5305_3053;
    const CPU_ID: usize = 4;
    const MM_CID: usize = 24;
    let offset = Function::named(c"__rseq_offset").0.cast::<isize>();
    let size = Function::named(c"__rseq_size").0.cast::<u32>();
    if offset.is_null() || size.is_null() {
        return Err("this libc registers no area for restartable sequences");
    }
    // SAFETY: glibc's constant of this type.
    let offset = unsafe { offset.read() };
    // SAFETY: glibc's constant of this type.
    let size = unsafe { size.read() };
    if size == 0 {
        return Err("no restartable sequences here: not in this kernel, or forbidden");
    }
    let area = thread_pointer().wrapping_offset(offset);
    // glibc tells how much of the area is in use, and registers at least the first ABI's 32 bytes.
    let lengths = [32, size, size.next_multiple_of(32)];
    // SAFETY: B3.
    if !lengths.iter().any(|&length| unsafe { linux::rseq_unregister(area, length, SIGNATURE) }.is_ok()) {
        return Err("the kernel does not give the area for restartable sequences back");
    }
    // The kernel has left -1 there. The second field is there, though unused, wherever the first is: 32 bytes.
    for field in [CPU_ID, MM_CID] {
        // SAFETY: B3: a field of the area, which is now like any other memory.
        unsafe { area.wrapping_add(field).cast::<u32>().write_volatile(0) };
    }
    Ok(())
}

fn thread_pointer() -> *mut u8 {
    let pointer: *mut u8;
    // SAFETY: the first word of a thread's control block is its own address.
    unsafe {
        core::arch::asm!("mov {0}, qword ptr fs:[0]", out(reg) pointer,
            options(nostack, preserves_flags, readonly, pure));
    }
    pointer
}

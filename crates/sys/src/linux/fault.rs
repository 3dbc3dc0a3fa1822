//! Looking at faults before the program does: a handler of SIGSEGV that passes every signal on.
//!
//! # Safety
//!
//! V1: an action that is passed on to is written before the number of its place is stored (Release; the handler loads it with
//! Acquire), by whoever holds `CHANGING`, and not written again until `PLACES` later ones are. What the kernel passes to a handler is
//! valid while it runs. An old handler is called as the kernel would.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// An access that the processor refused, and the registers that lead to the caller's frame.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// What was accessed.
    pub addr: usize,
    /// Whether it was a write; not known everywhere.
    pub write: Option<bool>,
    /// The instruction.
    pub pc: usize,
    /// The stack pointer.
    pub sp: usize,
    /// The frame pointer, or what was in its register.
    pub bp: usize,
    /// `rbx` on x86-64, by which some frames are found.
    pub bx: usize,
}

struct Old([UnsafeCell<MaybeUninit<libc::sigaction>>; PLACES]);

// SAFETY: V1.
unsafe impl Sync for Old {}

/// Places for actions, taken in turn: a handler that is reading one has this many changes to go on.
const PLACES: usize = 64;

static OLD: Old = Old([const { UnsafeCell::new(MaybeUninit::uninit()) }; PLACES]);
/// The place of the action that is passed on to.
static LATEST: AtomicUsize = AtomicUsize::new(0);
static CHANGING: AtomicBool = AtomicBool::new(false);
static INSTALLED: AtomicBool = AtomicBool::new(false);
static LOOK: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// Has `look` called with each refused access of any thread, inside the signal handler, before the signal goes to whatever handled it
/// until now. Once a process; false when the kernel refused, or the signal is handled by somebody and that was not to be
/// `displaced`. A handler that the program sets later replaces it.
pub fn look_at_faults(look: fn(&Access), displaced: bool) -> bool {
    let _preserved = super::PreservedErrno::new();
    // Release: the handler finds the function (Acquire there).
    LOOK.store(look as *mut c_void, Ordering::Release);
    if INSTALLED.swap(true, Ordering::Relaxed) {
        return true;
    }
    // SAFETY: zeros are a valid value of the structure.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = handle as Handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    // SAFETY: V1: first asked for the old action, which nobody reads yet.
    if unsafe { libc::sigaction(libc::SIGSEGV, core::ptr::null(), OLD.0[0].get().cast()) } != 0 {
        return false;
    }
    if !displaced && latest().sa_sigaction != libc::SIG_DFL {
        INSTALLED.store(false, Ordering::Relaxed);
        return false;
    }
    // SAFETY: a valid action, whose function lives as long as this code.
    unsafe { libc::sigaction(libc::SIGSEGV, &raw const action, core::ptr::null_mut()) == 0 }
}

/// The action that is passed on to.
fn latest() -> libc::sigaction {
    let place = LATEST.load(Ordering::Acquire) % PLACES;
    // SAFETY: V1: the first was written before the handler was installed.
    unsafe { OLD.0[place].get().cast::<libc::sigaction>().read() }
}

/// What the program should do with an action that it asks the system for or wants to set for SIGSEGV.
pub enum Wanted {
    /// What it asked for.
    Itself,
    /// This instead, which passes on to what it wanted.
    Instead(libc::sigaction),
}

/// Whether an action of SIGSEGV's, as the system told it, is the handler that looks at faults.
pub fn is_ours(action: &libc::sigaction) -> bool {
    action.sa_sigaction == handle as Handler as usize
}

/// What the action of SIGSEGV would be without us, where the system told this one.
pub fn without_us(told: libc::sigaction) -> libc::sigaction {
    if is_ours(&told) { latest() } else { told }
}

/// The program sets an action of SIGSEGV while ours is in place: from now on ours passes on to that, with its mask and its flags.
pub fn pass_on_to(action: &libc::sigaction) -> Wanted {
    let plain = action.sa_sigaction != libc::SIG_IGN && action.sa_flags & libc::SA_RESETHAND == 0;
    // Somebody changes it at this moment, perhaps below this signal handler.
    if !plain || is_ours(action) || CHANGING.swap(true, Ordering::Acquire) {
        return Wanted::Itself;
    }
    let next = LATEST.load(Ordering::Relaxed).wrapping_add(1);
    // SAFETY: V1: `CHANGING` was not set, and the handler reads the place before.
    unsafe { OLD.0[next % PLACES].get().cast::<libc::sigaction>().write(*action) };
    LATEST.store(next, Ordering::Release);
    CHANGING.store(false, Ordering::Release);
    let mut ours = *action;
    ours.sa_sigaction = handle as Handler as usize;
    ours.sa_flags |= libc::SA_SIGINFO;
    if action.sa_sigaction == libc::SIG_DFL {
        ours.sa_flags |= libc::SA_ONSTACK | libc::SA_NODEFER;
    }
    Wanted::Instead(ours)
}

extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let _preserved = super::PreservedErrno::new();
    let look = LOOK.load(Ordering::Acquire);
    // SAFETY: `look_at_faults` stored a function of this type before it installed the handler.
    let look = unsafe { core::mem::transmute::<*mut c_void, fn(&Access)>(look) };
    // SAFETY: V1, from the kernel.
    let code = unsafe { (*info).si_code };
    // Those sent by somebody say nothing of an address.
    if code > 0 {
        // SAFETY: V1, from the kernel, for a refused access.
        look(&unsafe { access(info, context) });
    }
    // SAFETY: V1.
    unsafe { pass_on(signal, info, context, code) }
}

/// What was accessed.
fn address(info: *mut libc::siginfo_t) -> usize {
    // SAFETY: V1.
    let info = unsafe { &*info };
    // SAFETY: the signal is for an access.
    unsafe { info.si_addr() }.addr()
}

/// What was accessed, by which instruction, with which registers.
///
/// # Safety
/// What the kernel passed to a handler of SIGSEGV that asked for information, while that runs; for a refused access.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn access(info: *mut libc::siginfo_t, context: *mut c_void) -> Access {
    // SAFETY: V1.
    let registers = unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let register = |which: c_int| registers[which as usize] as usize;
    Access {
        addr: address(info),
        // Bit 1 of the page fault's error code.
        write: Some(register(libc::REG_ERR) & 2 != 0),
        pc: register(libc::REG_RIP),
        sp: register(libc::REG_RSP),
        bp: register(libc::REG_RBP),
        bx: register(libc::REG_RBX),
    }
}

/// What was accessed, by which instruction, with which registers.
///
/// # Safety
/// What the kernel passed to a handler of SIGSEGV that asked for information, while that runs; for a refused access.
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn access(info: *mut libc::siginfo_t, context: *mut c_void) -> Access {
    // SAFETY: V1.
    let machine = unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext };
    let (pc, sp, bp) = (machine.pc as usize, machine.sp as usize, machine.regs[29] as usize);
    Access { addr: address(info), write: None, pc, sp, bp, bx: 0 }
}

/// Sets an action past what interposes: the system's own function.
///
/// # Safety
/// A valid action.
unsafe fn set(signal: c_int, action: &libc::sigaction) -> c_int {
    #[cfg(target_env = "gnu")]
    unsafe extern "C" {
        #[link_name = "__sigaction"]
        fn sigaction(signal: c_int, action: *const libc::sigaction, old: *mut libc::sigaction) -> c_int;
    }
    #[cfg(not(target_env = "gnu"))]
    use libc::sigaction;
    // SAFETY: the caller's promise.
    unsafe { sigaction(signal, &raw const *action, core::ptr::null_mut()) }
}

/// Does what would have been done without us.
unsafe fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void, code: c_int) {
    let old = &latest();
    match old.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => {
            // The access is made again when this returns, and then ends the process; an ignored one as well, as the kernel
            // has it.
            // SAFETY: a valid action.
            unsafe { set(signal, old) };
            if code <= 0 {
                // SAFETY: no precondition.
                unsafe { libc::raise(signal) };
            }
        }
        function if old.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: the flag says that it is of this type.
            let function = unsafe { core::mem::transmute::<usize, Handler>(function) };
            function(signal, info, context);
        }
        function => {
            // SAFETY: without the flag it is of this type.
            let function = unsafe { core::mem::transmute::<usize, extern "C" fn(c_int)>(function) };
            function(signal);
        }
    }
}

//! Last words: messages to standard error without allocating, and the end of the process after misuse.

use core::fmt::Write;

use freestone_base::text::FixedText;
use freestone_base::{ClassId, class_info};

/// What a program did wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// An address that is not the start of a live block was freed, resized or measured.
    InvalidFree,
    /// A block was freed that is free already.
    DoubleFree,
    /// The bytes behind what was asked for have changed, or those in front of the next block.
    Overrun,
    /// A free block was written to.
    WriteAfterFree,
    /// A block was freed with another size than it was asked for with.
    WrongSize,
    /// A free block was resized or measured.
    UseAfterFree,
}

impl Fault {
    fn words(self) -> &'static str {
        match self {
            Fault::InvalidFree => "invalid free: the address is not the start of a block",
            Fault::DoubleFree => "double free: the block is free already",
            Fault::Overrun => "overrun: the bytes behind the block were written to",
            Fault::WriteAfterFree => "write after free: the free block was written to",
            Fault::WrongSize => "wrong size: the block was freed with another size than its own",
            Fault::UseAfterFree => "use after free: the block is free, and was resized or measured",
        }
    }

    /// Says what is wrong with `addr` and ends the process by SIGABRT.
    pub(crate) fn abort(self, addr: usize, class: ClassId) -> ! {
        let mut text = FixedText::<160>::new();
        let _ = if class == ClassId::NONE {
            write!(text, "{} (address {addr:#x})", self.words())
        } else {
            write!(text, "{} (address {addr:#x}, size class {} bytes)", self.words(), class_info(class).size)
        };
        say(&text);
        freestone_sys::linux::control::abort()
    }
}

impl Fault {
    /// The same, of a block of `size` bytes for which `said` were named.
    pub(crate) fn abort_sized(self, addr: usize, size: usize, said: usize) -> ! {
        let mut text = FixedText::<160>::new();
        let _ = write!(text, "{} (address {addr:#x}, {size} bytes, freed as {said})", self.words());
        say(&text);
        freestone_sys::linux::control::abort()
    }
}

/// Says which invariant is broken and ends the process by SIGABRT.
pub(crate) fn broken(what: impl core::fmt::Display) -> ! {
    let mut text = FixedText::<160>::new();
    let _ = write!(text, "internal check failed: {what}");
    say(&text);
    freestone_sys::linux::control::abort()
}

/// Writes one line to standard error, headed by the allocator's name.
pub(crate) fn say<const N: usize>(text: &FixedText<N>) {
    let mut line = FixedText::<768>::new();
    let _ = writeln!(line, "freestone: {}", core::str::from_utf8(text.as_bytes()).unwrap_or("?"));
    freestone_sys::linux::socket::write_message(line.as_bytes());
}

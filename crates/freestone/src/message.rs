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
}

impl Fault {
    fn words(self) -> &'static str {
        match self {
            Fault::InvalidFree => "invalid free: the address is not the start of a block",
            Fault::DoubleFree => "double free: the block is free already",
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

/// Says which invariant is broken and ends the process by SIGABRT.
pub(crate) fn broken(what: impl core::fmt::Display) -> ! {
    let mut text = FixedText::<160>::new();
    let _ = write!(text, "internal check failed: {what}");
    say(&text);
    freestone_sys::linux::control::abort()
}

/// Writes one line to standard error, headed by the allocator's name.
pub(crate) fn say<const N: usize>(text: &FixedText<N>) {
    let mut line = FixedText::<512>::new();
    let _ = writeln!(line, "freestone: {}", core::str::from_utf8(text.as_bytes()).unwrap_or("?"));
    freestone_sys::linux::socket::write_message(line.as_bytes());
}

//! A reply: `ok LENGTH` or `error LENGTH` on a line, then so many bytes. Written into memory from the system, never allocated.

use core::fmt::{self, Write};

use freestone_base::text::FixedText;
use freestone_sys::linux::shared::Buffer;

/// Room for the first line, which is written last.
const HEAD: usize = 32;
/// The longest reply. Only what is written of it becomes resident.
const MOST: usize = 64 << 20;

/// A reply as it grows.
pub(super) struct Reply {
    buffer: Buffer,
    /// Where the first line begins, once it is written.
    begin: usize,
    end: usize,
    failed: bool,
    overflowed: bool,
}

impl Reply {
    /// An empty one; `None` when the system has no memory.
    pub(super) fn new() -> Option<Reply> {
        Some(Reply { buffer: Buffer::new(MOST)?, begin: HEAD, end: HEAD, failed: false, overflowed: false })
    }

    /// Makes it an error with this message; what was written before is forgotten.
    pub(super) fn fail(&mut self, message: fmt::Arguments<'_>) {
        self.end = HEAD;
        self.failed = true;
        self.overflowed = false;
        let _ = self.write_fmt(message);
        let _ = self.write_str("\n");
    }

    /// Writes the first line; the reply is then ready to be sent.
    pub(super) fn finish(&mut self) {
        if self.overflowed {
            self.fail(format_args!("the answer is longer than {MOST} bytes"));
        }
        let mut head = FixedText::<HEAD>::new();
        let word = if self.failed { "error" } else { "ok" };
        let _ = writeln!(head, "{word} {}", self.end - HEAD);
        let head = head.as_bytes();
        self.begin = HEAD - head.len();
        if let Some(place) = self.buffer.bytes_mut().get_mut(self.begin..HEAD) {
            place.copy_from_slice(head);
        }
    }

    /// What is to be sent, but for the first `sent` bytes.
    pub(super) fn rest(&self, sent: usize) -> &[u8] {
        self.buffer.bytes().get(self.begin + sent..self.end).unwrap_or_default()
    }
}

impl Write for Reply {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.end + text.len();
        match self.buffer.bytes_mut().get_mut(self.end..end) {
            Some(place) => {
                place.copy_from_slice(text.as_bytes());
                self.end = end;
                Ok(())
            }
            None => {
                self.overflowed = true;
                Err(fmt::Error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(reply: &mut Reply) -> String {
        reply.finish();
        String::from_utf8(reply.rest(0).into()).unwrap()
    }

    #[test]
    fn the_first_line_tells_how_it_went_and_how_much_follows() {
        let mut reply = Reply::new().unwrap();
        reply.write_str("pong\n").unwrap();
        assert_eq!(text(&mut reply), "ok 5\npong\n");
        assert_eq!(reply.rest(5), b"pong\n");
        assert!(reply.rest(10).is_empty() && reply.rest(1_000_000).is_empty());
        reply.fail(format_args!("no {}", 7));
        assert_eq!(text(&mut reply), "error 5\nno 7\n");
    }

    #[test]
    fn an_answer_that_is_too_long_is_an_error_not_a_part() {
        let mut reply = Reply::new().unwrap();
        while reply.write_str("0123456789abcdef0123456789abcdef").is_ok() {}
        assert_eq!(text(&mut reply), "error 39\nthe answer is longer than 524288 bytes\n");
    }
}

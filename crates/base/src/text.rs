//! Text without an allocator: a formatter that writes into a fixed buffer.

use core::fmt;

/// A fixed buffer that `core::fmt` writes into; what does not fit is cut, never allocated.
///
/// ```
/// use core::fmt::Write;
/// use freestone_base::text::FixedText;
/// let mut text = FixedText::<16>::new();
/// write!(text, "class {}", 7).unwrap();
/// assert_eq!(text.as_bytes(), b"class 7");
/// write!(text, " and much more than fits").unwrap();
/// assert_eq!(text.as_bytes().len(), 16);
/// assert!(text.truncated());
/// ```
pub struct FixedText<const N: usize> {
    bytes: [u8; N],
    len: usize,
    truncated: bool,
}

impl<const N: usize> FixedText<N> {
    /// An empty text.
    pub const fn new() -> Self {
        FixedText { bytes: [0; N], len: 0, truncated: false }
    }

    /// What was written so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Whether something did not fit.
    pub const fn truncated(&self) -> bool {
        self.truncated
    }

    /// Forgets the text, keeps the buffer.
    pub fn clear(&mut self) {
        self.len = 0;
        self.truncated = false;
    }
}

impl<const N: usize> Default for FixedText<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Write for FixedText<N> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = N - self.len;
        let take = s.len().min(room);
        self.bytes[self.len..self.len + take].copy_from_slice(&s.as_bytes()[..take]);
        self.len += take;
        self.truncated |= take < s.len();
        Ok(())
    }
}

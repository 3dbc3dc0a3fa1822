//! Which of the live samples nothing leads to any more.

/// To be replaced.
pub(super) fn find() -> bool {
    false
}

//! Placeholder.
/// .
#[derive(Clone, Copy)]
pub enum Fault {
    None,
}

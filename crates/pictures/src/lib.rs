//! What is known of a program's memory, as words, charts and one HTML page.
//!
//! # Should I use this?
//!
//! To draw what the command `freestone` draws, from data of your own. The crate is pure: data in, text out. It reads
//! no file, starts no program and asks no clock.
//!
//! ```text
//!  calls of a trace ──► study ──► findings ─┐
//!  folded stacks ─────► flame ──────────────┼──► report ──► one page of HTML
//!  figures of a run ──► figures ────────────┘
//!  policies on a trace ────────────────────────► lab ─────► a page, and a picture in SVG
//! ```
//!
//! [`study`] makes figures of a list of calls in one pass; [`findings`] says in words what stands out; [`report`] and
//! [`lab`] put pages together; [`charts`] holds what both draw with.
//!
//! # What a page is
//!
//! One file with its style and its script inside, which asks nothing of any network: a policy in its head forbids it. What is shown
//! without the script is complete but for the flame graph and the pictures of one moment. Charts are
//! stretched to the width that there is, with labels beside the picture and not in it, so that they stay readable on a
//! narrow screen. Nothing is told by colour alone: lightness, letters, dashes and numbers in tables say the same.

pub mod charts;
pub mod event;
pub mod findings;
pub mod html;
pub mod lab;
pub mod page;
pub mod pprof;
pub mod quantity;
pub mod report;
pub mod stacks;
pub mod study;

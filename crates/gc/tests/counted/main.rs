//! Counted handles and the collection of cycles, by their public interface.

mod cycles_tests;
mod examples_tests;
mod graph_tests;
mod handles_tests;
mod intrusive_tests;
mod slices_tests;

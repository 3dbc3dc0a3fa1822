//! The program in which the Rust interface's fast paths are counted.

#[global_allocator]
static ALLOCATOR: freestone::Freestone = freestone::Freestone;

fn main() -> std::process::ExitCode {
    #[cfg(target_arch = "x86_64")]
    return freestone_budgets::subject::run(&freestone_budgets::subject::rust::cases());
    #[cfg(not(target_arch = "x86_64"))]
    std::process::ExitCode::FAILURE
}

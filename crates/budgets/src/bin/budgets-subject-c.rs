//! The program in which the C library's fast paths are counted: run with the library preloaded.

fn main() -> std::process::ExitCode {
    #[cfg(target_arch = "x86_64")]
    return freestone_budgets::subject::run(&freestone_budgets::subject::c::cases());
    #[cfg(not(target_arch = "x86_64"))]
    std::process::ExitCode::FAILURE
}

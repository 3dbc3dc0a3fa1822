//! The program in which the C library's fast paths are counted: run with the library preloaded. With `--code` it tells how much of the
//! library's code is resident.

fn main() -> std::process::ExitCode {
    #[cfg(target_arch = "x86_64")]
    if std::env::args().nth(1).as_deref() == Some("--code") {
        return freestone_budgets::subject::code::run();
    }
    #[cfg(target_arch = "x86_64")]
    return freestone_budgets::subject::run(&freestone_budgets::subject::c::cases());
    #[cfg(not(target_arch = "x86_64"))]
    std::process::ExitCode::FAILURE
}

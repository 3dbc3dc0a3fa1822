//! Pages of a service with planted faults: what is said of them, and what a browser makes of them.
//!
//! Where no Chromium is installed, the tests that need it are reported as ignored.

mod browser;
mod clicks;
mod planted;
mod service;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

fn main() -> ExitCode {
    let said = [
        (
            "planted::each_fault_is_among_the_first_findings",
            planted::each_fault_is_among_the_first_findings as fn(),
        ),
        (
            "planted::a_program_without_faults_has_no_findings",
            planted::a_program_without_faults_has_no_findings,
        ),
        ("planted::hostile_calls_do_no_harm", planted::hostile_calls_do_no_harm),
        ("planted::peaks_are_exact", planted::peaks_are_exact),
        (
            "planted::a_leak_is_found_in_a_run_that_stood_still_and_named_by_the_programs_line",
            planted::a_leak_is_found_in_a_run_that_stood_still_and_named_by_the_programs_line,
        ),
        ("planted::a_long_trace_makes_no_long_page", planted::a_long_trace_makes_no_long_page),
    ];
    let clicked = [
        ("browser::a_report_is_clicked_through", clicks::report as fn() -> Result<(), Failed>),
        ("browser::a_lab_is_clicked_through", clicks::lab),
    ];
    let mut trials: Vec<Trial> = said
        .into_iter()
        .map(|(name, test)| {
            Trial::test(name, move || {
                test();
                Ok(())
            })
        })
        .collect();
    trials.extend(clicked.into_iter().map(|(name, test)| {
        Trial::ignorable_test(name, move || match browser::missing() {
            Some(packages) => Ok(Completion::ignored_with(format!("needs: apt-get install {packages}"))),
            None => test().map(|()| Completion::Completed),
        })
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

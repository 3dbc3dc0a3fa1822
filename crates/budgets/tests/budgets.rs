//! Counts every fast path and holds it to its budget.

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    println!("test result: ok. 0 passed; 0 failed; 0 ignored: the fast paths are for x86-64");
}

#[cfg(target_arch = "x86_64")]
fn main() -> std::process::ExitCode {
    let arguments = libtest_mimic::Arguments::from_args();
    libtest_mimic::run(&arguments, x86_64::trials()).exit_code()
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::path::Path;
    use std::sync::{Arc, OnceLock};

    use freestone_budgets::count::count;
    use freestone_budgets::listing::Disassembler;
    use freestone_budgets::programs::Programs;
    use freestone_budgets::table::{BUDGETS, Budget, SELF_CHECK, Subject};
    use libtest_mimic::{Completion, Failed, Trial};

    /// Built by the first trial that runs, so that listing and filtering build nothing.
    type Once = Arc<OnceLock<Result<Programs, String>>>;

    fn programs(once: &Once) -> Result<&Programs, String> {
        let target = || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("");
        once.get_or_init(|| Programs::build(&target())).as_ref().map_err(String::clone)
    }

    pub fn trials() -> Vec<Trial> {
        let once = Once::default();
        let mut trials: Vec<Trial> = BUDGETS
            .iter()
            .map(|budget| {
                let once = Arc::clone(&once);
                Trial::ignorable_test(budget.full_name(), move || hold(programs(&once)?, budget))
            })
            .collect();
        let of_check = Arc::clone(&once);
        trials.push(Trial::ignorable_test("count::is_exact", move || is_exact(programs(&of_check)?)));
        let of_code = Arc::clone(&once);
        trials.push(Trial::ignorable_test("code::lies_in_two_windows", move || {
            two_windows(programs(&of_code)?)
        }));
        trials.push(Trial::test("table::every_case_has_a_budget", move || every_case(programs(&once)?)));
        trials
    }

    fn hold(programs: &Programs, budget: &Budget) -> Result<Completion, Failed> {
        let counted = match count(programs, budget)? {
            Ok(counted) => counted,
            Err(reason) => return Ok(Completion::ignored_with(reason)),
        };
        let (now, name) = (counted.steps.len(), budget.full_name());
        if now > budget.budget {
            let listing = Disassembler::default().list(&counted);
            return Err(format!(
                "{name} takes {now} instructions, its budget is {}:\n{listing}",
                budget.budget
            )
            .into());
        }
        if now < budget.budget {
            eprintln!(
                "{name} takes {now} instructions: lower its budget, {}, in src/table.rs",
                budget.budget
            );
        }
        Ok(Completion::Completed)
    }

    fn is_exact(programs: &Programs) -> Result<Completion, Failed> {
        match count(programs, &SELF_CHECK)? {
            Ok(counted) if counted.steps.len() == SELF_CHECK.budget => Ok(Completion::Completed),
            Ok(counted) => {
                Err(format!("{} instructions are counted in {}", counted.steps.len(), SELF_CHECK.what).into())
            }
            Err(reason) => Ok(Completion::ignored_with(reason)),
        }
    }

    /// What programs usually run of the library lies in two windows of 64 KiB, of which the kernel maps all at the first fault, and on some
    /// pages at the end of the code. A window more would be 64 KiB more.
    fn two_windows(programs: &Programs) -> Result<Completion, Failed> {
        const MOST_KIB: usize = 160;
        match programs.resident_code()? {
            Err(reason) => Ok(Completion::ignored_with(reason)),
            Ok(kib) if kib > MOST_KIB => Err(format!(
                "{kib} KiB of the library's code are resident in a small program, {MOST_KIB} may be: \
                 something that it runs lies outside of the windows of crates/malloc/layout.ld (`perf trace -F all` names it)"
            )
            .into()),
            Ok(_) => Ok(Completion::Completed),
        }
    }

    fn every_case(programs: &Programs) -> Result<(), Failed> {
        let all = || BUDGETS.iter().chain([&SELF_CHECK]);
        for subject in [Subject::C, Subject::Rust] {
            let budgeted = |name: &str| all().any(|budget| budget.subject == subject && budget.name == name);
            if let Some(case) = programs.cases(subject)?.iter().find(|case| !budgeted(case)) {
                return Err(format!("the case {case} of {subject:?} has no budget").into());
            }
        }
        Ok(())
    }
}

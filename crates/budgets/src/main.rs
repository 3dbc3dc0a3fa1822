//! `freestone-budgets list [PART]`: the table with what is counted now, and the instructions one by one. Options in `FREESTONE_CONF` are
//! the library's.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some("list") {
        eprintln!("usage: freestone-budgets list [PART OF A NAME]");
        return ExitCode::FAILURE;
    }
    let part = arguments.next().unwrap_or_default();
    match list(&part) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn list(_part: &str) -> Result<(), String> {
    Err("the fast paths are for x86-64".into())
}

#[cfg(target_arch = "x86_64")]
fn list(part: &str) -> Result<(), String> {
    use std::path::Path;

    use freestone_budgets::count::{Count, count};
    use freestone_budgets::listing::Disassembler;
    use freestone_budgets::programs::Programs;
    use freestone_budgets::table::{BUDGETS, PAIRS, Pair};

    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let further = std::env::var("FREESTONE_CONF").unwrap_or_default();
    let programs = Programs::build(&workspace.join(target))?.under(&further);
    let mut disassembler = Disassembler::default();
    let mut listed: Vec<(String, Count)> = Vec::new();
    println!("{:<28} {:>5} {:>6}  what", "name", "count", "budget");
    for budget in BUDGETS.iter().filter(|budget| budget.full_name().contains(part)) {
        let (name, most, what) = (budget.full_name(), budget.budget, budget.what);
        let counted = match count(&programs, budget)? {
            Ok(counted) => counted,
            Err(reason) => {
                println!("{name:<28} {:>5} {most:>6}  {what}: not counted: {reason}", "-");
                continue;
            }
        };
        println!("{name:<28} {:>5} {most:>6}  {what}", counted.steps.len());
        let same = |other: &&(String, Count)| other.1.file == counted.file && other.1.steps == counted.steps;
        match listed.iter().find(same) {
            Some((other, _)) => println!("         as {other}"),
            None => print!("{}", disassembler.list(&counted)),
        }
        listed.push((name, counted));
    }
    println!();
    for Pair { what, of, goal } in PAIRS {
        let counts = of.iter().map(|name| {
            let of_that_name = |(listed, _): &&(String, Count)| listed == name;
            listed.iter().find(of_that_name).map(|(_, counted)| counted.steps.len())
        });
        if let Some(sum) = counts.sum::<Option<usize>>() {
            println!("{what}: {sum}, goal {goal}");
        }
    }
    Ok(())
}

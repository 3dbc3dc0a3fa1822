//! `list`: the rows that there are.

use std::process::ExitCode;

use freestone_bench::{Kind, program, workload};

use super::{Done, no_more};

/// Runs the subcommand.
pub fn main(arguments: lexopt::Parser) -> Done {
    no_more(arguments)?;
    println!("Workloads, under both interfaces (t: several threads, p: processes, l: also in `latency`):\n");
    for one in workload::all().iter().filter(|one| one.kind.is_row()) {
        let kind = match one.kind {
            Kind::Threads => 't',
            Kind::Processes => 'p',
            _ => ' ',
        };
        let latency = if one.latency { 'l' } else { ' ' };
        println!("  {kind}{latency} {:<18} {}\n     {:<18} {}", one.name, one.about, "", one.source);
    }
    println!("\nWhole programs, under the C interface:\n");
    for one in program::all() {
        println!("     {:<18} {}\n     {:<18} {}", one.name, one.about, "", one.source);
        let missing = one.missing();
        if !missing.is_empty() {
            println!("     {:<18} to have it: apt-get install {}", "", missing.join(" "));
        }
    }
    for (command, kind) in [("growth", Kind::Growth), ("memory", Kind::Memory)] {
        println!("\nFor `{command}`:\n");
        for one in workload::all().iter().filter(|one| one.kind == kind) {
            println!("     {:<18} {}", one.name, one.about);
        }
    }
    let redis = program::emptied();
    println!("     {:<18} {}", redis.name, redis.about);
    println!("\nFor `overhead`, beside rows from above:\n");
    let gxx = program::gxx();
    println!("     {:<18} {}", gxx.name, gxx.about);
    Ok(ExitCode::SUCCESS)
}

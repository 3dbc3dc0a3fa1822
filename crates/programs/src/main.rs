//! The command `freestone-programs`: list, run, ledger, packages.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use freestone_programs::job::{Job, Need, Scale};
use freestone_programs::refusal::{self, Verdict};
use freestone_programs::session::{Bench, Session};
use freestone_programs::setting::Setting;
use freestone_programs::{jobs, ledger, library};
use lexopt::prelude::*;

const HELP: &str = "\
Real programs on Freestone, compared with a run without it.

usage: freestone-programs COMMAND

  list                 the jobs, and what each one does
  packages             the Debian packages that the jobs need, for
                         apt-get install -y --no-install-recommends $(freestone-programs packages)
      --all              those, too, that are used where they are and not asked for elsewhere
  run [NAME...]        run jobs (default: all) plain and preloaded, and compare
      --lib PATH         the library to preload (default: $FREESTONE_LIB, or a release build)
      --conf LIST        under these options of Freestone alone, such as debug:1,debug_leaks:0
      --modes            in the modes that look for misuse, hardened and debug
      --patience N       a job may take N times its usual limit (with --modes 10, else 1)
      --full             the long form: gigabytes and minutes
  ledger [NAME...]     run jobs (default: fourteen different programs) and compare the sum of the ledger's
                       lines with what the kernel says is resident, for each process as it ends
      --lib PATH, --full as above
  refuse [CALL...]     have each system call of the allocator refused, once, often and from some call on (default: all calls),
                       on three programs: none may crash, hang, or print something else
      --lib PATH, --conf LIST as above
";

fn main() -> ExitCode {
    match command() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("freestone-programs: {error}");
            ExitCode::from(2)
        }
    }
}

fn command() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = lexopt::Parser::from_env();
    let command = match arguments.next()? {
        Some(Value(name)) => name.string()?,
        None | Some(Short('h') | Long("help")) => {
            print!("{HELP}");
            return Ok(ExitCode::SUCCESS);
        }
        Some(other) => return Err(other.unexpected().into()),
    };
    match command.as_str() {
        "list" => no_more(arguments).map(|()| list()),
        "packages" => packages(arguments),
        "run" => run(arguments),
        "ledger" => ledgers(arguments),
        "refuse" => refuse(arguments),
        other => {
            Err(format!("there is no command {other:?}: it may be list, packages, run, ledger or refuse")
                .into())
        }
    }
}

fn no_more(mut arguments: lexopt::Parser) -> Result<(), Box<dyn Error>> {
    match arguments.next()? {
        Some(argument) => Err(argument.unexpected().into()),
        None => Ok(()),
    }
}

fn list() -> ExitCode {
    for job in jobs::all() {
        println!("{:<34} {}", job.name, job.about);
        let missing = job.missing();
        if !missing.is_empty() {
            println!("{:<34} not installed: {}", "", missing.join(" "));
        }
    }
    ExitCode::SUCCESS
}

fn packages(mut arguments: lexopt::Parser) -> Result<ExitCode, Box<dyn Error>> {
    let mut extra = false;
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("all") => extra = true,
            other => return Err(other.unexpected().into()),
        }
    }
    let needs = jobs::all().into_iter().flat_map(|job| job.needs).filter(|need| extra || !need.is_extra());
    let all: BTreeSet<String> = needs.map(Need::package).collect();
    println!("{}", all.into_iter().collect::<Vec<_>>().join(" "));
    Ok(ExitCode::SUCCESS)
}

fn find(name: &str) -> Result<&'static Job, String> {
    let known = || jobs::all().iter().map(|job| job.name).collect::<Vec<_>>().join(", ");
    jobs::find(name).ok_or_else(|| format!("there is no job {name:?}; there are: {}", known()))
}

/// What to run, on which library, and how much.
struct Choice {
    jobs: Vec<&'static Job>,
    library: PathBuf,
    scale: Scale,
    /// One setting, of these options of Freestone, in the place of the usual ones.
    conf: Option<String>,
    /// The modes that look for misuse, in the place of the usual settings.
    modes: bool,
    /// How many times its usual limit a job may take.
    patience: u32,
}

fn choice(mut arguments: lexopt::Parser, usual: Vec<&'static Job>) -> Result<Choice, Box<dyn Error>> {
    let mut jobs = Vec::new();
    let mut library = None;
    let mut conf = None;
    let (mut modes, mut patience) = (false, None);
    let mut scale = Scale::from_environment()?;
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(name) => jobs.push(find(&name.string()?)?),
            Long("lib") => library = Some(library::checked(Path::new(&arguments.value()?))?),
            Long("conf") => conf = Some(arguments.value()?.string()?),
            Long("modes") => modes = true,
            Long("patience") => patience = Some(arguments.value()?.parse()?),
            Long("full") => scale = Scale::Full,
            other => return Err(other.unexpected().into()),
        }
    }
    if modes && conf.is_some() {
        return Err("--modes and --conf exclude each other".into());
    }
    let library = library.map_or_else(library::find_or_build, Ok)?;
    let patience = patience.unwrap_or(if modes { 10 } else { 1 });
    Ok(Choice { jobs: if jobs.is_empty() { usual } else { jobs }, library, scale, conf, modes, patience })
}

fn refuse(mut arguments: lexopt::Parser) -> Result<ExitCode, Box<dyn Error>> {
    let (mut names, mut library, mut conf) = (Vec::new(), None, None);
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(name) => names.push(name.string()?),
            Long("lib") => library = Some(library::checked(Path::new(&arguments.value()?))?),
            Long("conf") => conf = Some(arguments.value()?.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let known = || refusal::CALLS.map(|call| call.name).join(", ");
    if let Some(name) = names.iter().find(|name| !refusal::CALLS.iter().any(|call| call.name == **name)) {
        return Err(format!("{name:?} is not among the calls: {}", known()).into());
    }
    let library = library.map_or_else(library::find_or_build, Ok)?;
    let options: Option<&'static str> = conf.map(|conf| &*conf.leak());
    let setting = Setting { options, ..Setting::preload("refused", &library) };
    let mut bad = 0;
    for subject in refusal::SUBJECTS {
        let usual = subject.usual()?;
        for call in refusal::CALLS {
            if !names.is_empty() && !names.iter().any(|name| name == call.name) {
                continue;
            }
            let (mut came, mut refused, mut unimpressed, mut clean) = (0, 0, 0, 0);
            for when in refusal::MOMENTS {
                let (verdict, seen) = subject.refused(&setting, call, when, &usual)?;
                (came, refused) = (came.max(seen.calls), refused + seen.refused);
                match verdict {
                    Verdict::Unimpressed => unimpressed += 1,
                    Verdict::CleanFailure(_) => clean += 1,
                    Verdict::Bad(why) => {
                        bad += 1;
                        println!("BAD  {} {} {when:?}: {why}", subject.name, call.name);
                    }
                }
            }
            println!(
                "{:8} {:18} {came:6} calls, {refused:6} refused in {} runs: {unimpressed} as usual, {clean} failed cleanly",
                subject.name,
                call.name,
                refusal::MOMENTS.len()
            );
        }
    }
    println!("\n{bad} bad ends");
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn ledgers(arguments: lexopt::Parser) -> Result<ExitCode, Box<dyn Error>> {
    let usual = ledger::USUAL.iter().map(|name| find(name)).collect::<Result<_, _>>()?;
    let Choice { jobs, library, scale, conf, modes, patience } = choice(arguments, usual)?;
    if conf.is_some() || modes {
        return Err("--conf and --modes are for run: the ledger sets its own options".into());
    }
    let session = Session::patient(scale, patience)?;
    let library = session.adopt(&library)?;
    println!("{:<18}{}", "job", ledger::heading());
    let (mut worst, mut failed) = (0.0f64, 0);
    for job in jobs {
        let missing = job.missing();
        if !missing.is_empty() {
            println!("{:<18}skipped: apt-get install {}", job.name, missing.join(" "));
            continue;
        }
        match ledger::measure(&session.bench(job), &library) {
            Ok(rows) => {
                for row in rows.iter().filter(|row| row.ledgers > 0) {
                    println!("{:<18}{row}", job.name);
                    worst = worst.max(row.share);
                }
            }
            Err(failure) => {
                println!("{:<18}FAILED: {failure}", job.name);
                failed += 1;
            }
        }
    }
    println!("\nworst: {:.4} % off, {} % are allowed", worst * 100.0, ledger::ALLOWED * 100.0);
    Ok(if failed == 0 && worst <= ledger::ALLOWED { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run(arguments: lexopt::Parser) -> Result<ExitCode, Box<dyn Error>> {
    let Choice { jobs: chosen, library, scale, conf, modes, patience } = choice(arguments, jobs::all())?;
    let session = Session::patient(scale, patience)?;
    let library = session.adopt(&library)?;
    let settings = match conf {
        // As long as the command runs.
        Some(conf) => vec![Setting { options: Some(conf.leak()), ..Setting::preload("conf", &library) }],
        None if modes => Setting::of_modes(&library),
        None => Setting::of_library(&library),
    };
    let (mut failed, mut skipped) = (0, 0);
    for job in chosen {
        let missing = job.missing();
        if !missing.is_empty() {
            println!("{:<34} skipped: apt-get install {}", job.name, missing.join(" "));
            skipped += 1;
            continue;
        }
        failed += run_job(&session.bench(job), &settings);
    }
    println!("\n{failed} failed, {skipped} skipped");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs one job in all settings; the number of failures.
fn run_job(bench: &Bench, settings: &[Setting]) -> usize {
    let name = bench.job().name;
    let mut failed = 0;
    for setting in settings {
        let start = Instant::now();
        match bench.check(setting) {
            Ok(run) => {
                let (wall, peak) = (run.meter.wall.as_secs_f64(), run.meter.peak_kib as f64 / 1024.0);
                println!("{name:<34} {:<10} ok       {wall:7.2} s {peak:8.1} MiB", setting.name);
            }
            Err(failure) => {
                let seconds = start.elapsed().as_secs_f64();
                println!("{name:<34} {:<10} FAILED   {seconds:7.2} s", setting.name);
                println!("{failure}");
                failed += 1;
            }
        }
    }
    failed
}

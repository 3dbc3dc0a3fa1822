//! Runs every named case of `cases/` under the library, in each cache mode and linked statically.
//!
//! A test is named `setting::program::case`. The names come from the sources, so that listing and
//! filtering compile nothing; a program is compiled when its first case runs.

mod build;
mod needs;
mod process;

use std::process::ExitCode;
use std::sync::Arc;

use build::{Linkage, Suite};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// A way of running the cases: how the program meets the library, and `FREESTONE_CONF`.
struct Setting {
    name: &'static str,
    linkage: Linkage,
    conf: &'static str,
    /// The programs for which it makes sense.
    programs: Programs,
}

enum Programs {
    All,
    These(&'static [&'static str]),
}

impl Programs {
    fn include(&self, program: &str) -> bool {
        match self {
            Programs::All => true,
            Programs::These(names) => names.contains(&program),
        }
    }
}

const fn preloaded(name: &'static str, conf: &'static str, programs: Programs) -> Setting {
    Setting { name, linkage: Linkage::Preload, conf, programs }
}

const SETTINGS: [Setting; 7] = [
    preloaded("cpu", "cache:cpu", Programs::All),
    preloaded("thread", "cache:thread", Programs::All),
    preloaded("none", "cache:none", Programs::All),
    preloaded("sampled", "cache:cpu,sample:4K", OBSERVED_PROGRAMS),
    preloaded("sampled_within_a_limit", "cache:cpu,sample:4K,limit_hard:1800M", OBSERVED_PROGRAMS),
    Setting { name: "static", linkage: Linkage::Static, conf: "cache:cpu", programs: STATIC_PROGRAMS },
    Setting {
        name: "static_pie",
        linkage: Linkage::StaticPie,
        conf: "cache:thread",
        programs: STATIC_PROGRAMS,
    },
];

/// Those of the calls that have a way of their own while requests are observed.
const OBSERVED_PROGRAMS: Programs = Programs::These(&["rules_calloc", "cxx_new"]);

const STATIC_PROGRAMS: Programs = Programs::These(&[
    "rules_malloc",
    "rules_realloc",
    "rules_aligned",
    "rules_errno",
    "extensions",
    "libc_use",
    "start_and_end",
    "cxx_new",
    "fork",
    "cage",
]);

const BUGS: usize = 15;

/// The variable by which the suite tells itself to overflow its stack.
const OVERFLOW: &str = "FREESTONE_TEST_OVERFLOW";

fn main() -> ExitCode {
    if std::env::var_os(OVERFLOW).is_some() {
        return ExitCode::from(overflow(0) as u8);
    }
    let mut arguments = Arguments::from_args();
    // Most cases wait most of the time: for the allocator's thread, for signals, for the end of many threads.
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
    arguments.test_threads = arguments.test_threads.or(Some(2 * cpus));
    let suite = match Suite::scan() {
        Ok(suite) => Arc::new(suite),
        Err(error) => {
            eprintln!("cannot read the cases: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut trials = vec![every_bug_has_a_case(&suite), programs_list_what_the_sources_name(&suite)];
    trials.push(rust_tells_of_a_stack_overflow(&suite));
    trials.push(one_build_serves_every_glibc(&suite));
    for setting in &SETTINGS {
        for (index, program) in suite.programs.iter().enumerate() {
            if !setting.programs.include(&program.name) {
                continue;
            }
            for case in &program.cases {
                let (suite, case) = (Arc::clone(&suite), case.clone());
                let name = format!("{}::{}::{}", setting.name, program.name, case);
                trials.push(Trial::ignorable_test(name, move || run_case(&suite, index, &case, setting)));
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn run_case(suite: &Suite, program: usize, case: &str, setting: &Setting) -> Result<Completion, Failed> {
    if let Some(reason) = suite.cannot_compile(program) {
        return Ok(Completion::ignored_with(reason));
    }
    let library = suite.library()?;
    let executable = suite.executable(program, setting.linkage)?;
    // What the environment has is added: every rule holds with an instrument at work, too.
    let further = std::env::var("FREESTONE_CONF").map(|conf| format!(",{conf}")).unwrap_or_default();
    let conf = format!("{}{further}", setting.conf);
    let mut environment = vec![("FREESTONE_CONF", conf.as_ref())];
    if setting.linkage == Linkage::Preload {
        environment.push(("FREESTONE_LIB", library.shared.as_os_str()));
        environment.push(("LD_PRELOAD", library.shared.as_os_str()));
    }
    process::run(&executable, case, &environment)
}

/// Each of the fifteen bugs that other allocators had is kept away by a case of its name.
fn every_bug_has_a_case(suite: &Arc<Suite>) -> Trial {
    let suite = Arc::clone(suite);
    Trial::test("suite::every_bug_has_a_case", move || {
        let has = |bug: usize| {
            let prefix = format!("bug{bug:02}_");
            suite.programs.iter().flat_map(|program| &program.cases).any(|case| case.starts_with(&prefix))
        };
        match (1..=BUGS).find(|&bug| !has(bug)) {
            Some(bug) => Err(format!("no case named bug{bug:02}_…").into()),
            None => Ok(()),
        }
    })
}

/// A case that the scan of the sources misses would never run.
fn programs_list_what_the_sources_name(suite: &Arc<Suite>) -> Trial {
    let suite = Arc::clone(suite);
    Trial::ignorable_test("suite::programs_list_what_the_sources_name", move || {
        for (index, program) in suite.programs.iter().enumerate() {
            if let Some(reason) = suite.cannot_compile(index) {
                return Ok(Completion::ignored_with(reason));
            }
            let listed = process::list(&suite.executable(index, Linkage::Preload)?)?;
            let (mut listed, mut named) = (listed, program.cases.clone());
            listed.sort();
            named.sort();
            if listed != named {
                return Err(format!("{}: lists {listed:?}, source names {named:?}", program.name).into());
            }
        }
        Ok(Completion::Completed)
    })
}

/// Takes more of the stack with each call, for ever.
fn overflow(depth: u64) -> u64 {
    let taken = std::hint::black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { overflow(depth + 1) + taken[1] }
}

/// Rust's runtime handles SIGSEGV only where nobody does: it must not see the handler of hardened mode.
fn rust_tells_of_a_stack_overflow(suite: &Arc<Suite>) -> Trial {
    let suite = Arc::clone(suite);
    Trial::test("suite::rust_tells_of_a_stack_overflow", move || {
        let library = suite.library()?;
        for conf in ["harden:1", "guard:8M", "cache:cpu"] {
            let output = std::process::Command::new(std::env::current_exe().map_err(|e| e.to_string())?)
                .env(OVERFLOW, "1")
                .env("FREESTONE_CONF", conf)
                .env("LD_PRELOAD", &library.shared)
                .output()
                .map_err(|e| e.to_string())?;
            let text = String::from_utf8_lossy(&output.stderr);
            if !text.contains("has overflowed its stack") {
                return Err(format!("{conf}: {}: {text}", output.status).into());
            }
        }
        Ok(())
    })
}

fn one_build_serves_every_glibc(suite: &Arc<Suite>) -> Trial {
    let suite = Arc::clone(suite);
    Trial::ignorable_test("suite::one_build_serves_every_glibc", move || {
        let library = suite.library()?;
        if !library.shared.ends_with("libfreestone_malloc.so") {
            return Ok(Completion::ignored_with("another library"));
        }
        needs::only_what_every_glibc_has(&library.shared)?;
        Ok(Completion::Completed)
    })
}

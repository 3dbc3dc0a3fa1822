//! The system's Python: a script, the same with every object from malloc, numpy, and parts of
//! Python's own test suite.

use crate::fail;
use crate::job::{Job, Need, Outcome};
use crate::place::Place;

/// Works in Python; its arguments are the number of rounds, and that of threads that do one more each.
pub const SCRIPT: &str = include_str!("scripts/work.py");

const PYTHON: Need = Need::command("python3", "python3");
const WITH_TESTS: &[Need] = &[PYTHON, Need::PYTHON_TESTS];

/// The family's jobs.
pub const JOBS: &[Job] = &[
    Job {
        name: "python",
        about: "python3: objects, JSON, regular expressions, sorting, pickling, threads",
        needs: &[PYTHON],
        limit: 120,
        prepare: None,
        run: script,
    },
    Job {
        name: "python-malloc",
        about: "the same with PYTHONMALLOC=malloc, so that every object is a block of ours",
        needs: &[PYTHON],
        limit: 120,
        prepare: None,
        run: script_on_malloc,
    },
    Job {
        name: "python-numpy",
        about: "python3 with numpy: large aligned blocks, sorting, linear algebra in threads",
        needs: &[PYTHON, Need::python_module("numpy", "python3-numpy")],
        limit: 120,
        prepare: None,
        run: numpy,
    },
    tests("python-test-json", "Python's own tests of json", |place| suite(place, "test_json", &[])),
    tests("python-test-re", "Python's own tests of re", |place| suite(place, "test_re", &[])),
    tests("python-test-pickle", "Python's own tests of pickle", |place| suite(place, "test_pickle", &[])),
    tests("python-test-ctypes", "Python's own tests of ctypes", |place| suite(place, "test_ctypes", &[])),
    tests("python-test-gc", "Python's own tests of the collector", |place| suite(place, "test_gc", &[])),
    tests("python-test-threading", "Python's own tests of threading", threading),
    tests("python-test-multiprocessing-fork", "Python's own tests of multiprocessing by fork", |place| {
        multiprocessing(place, "test_multiprocessing_fork")
    }),
    tests("python-test-multiprocessing-spawn", "Python's own tests of multiprocessing by spawn", |place| {
        multiprocessing(place, "test_multiprocessing_spawn")
    }),
];

const fn tests(name: &'static str, about: &'static str, run: fn(&mut Place) -> Outcome) -> Job {
    Job { name, about, needs: WITH_TESTS, limit: 180, prepare: None, run }
}

fn script(place: &mut Place) -> Outcome {
    run_script(place, "pymalloc")
}

fn script_on_malloc(place: &mut Place) -> Outcome {
    run_script(place, "malloc")
}

fn run_script(place: &mut Place, allocator: &str) -> Outcome {
    let script = place.write("work.py", SCRIPT)?;
    let rounds = place.scale().pick("6", "120");
    let step = place.subject("python3").arg(script).arg(rounds);
    place.run_and_note("script", step.env("PYTHONHASHSEED", "0").env("PYTHONMALLOC", allocator))?;
    Ok(())
}

fn numpy(place: &mut Place) -> Outcome {
    let script = place.write("arrays.py", include_str!("scripts/arrays.py"))?;
    let step = place.subject("python3").arg(script);
    place.run_and_note("script", step)?;
    Ok(())
}

/// Tests that measure time, or whose outcome depends on it, fail on a busy machine whatever the
/// allocator: they are left out at small scale.
fn threading(place: &mut Place) -> Outcome {
    let small =
        ["ThreadTests", "ThreadJoinOnShutdown", "LockTests", "RLockTests", "BarrierTests", "TimerTests"];
    let chosen = place.scale().pick(&small[..], &[]);
    suite(place, "test_threading", chosen)
}

fn multiprocessing(place: &mut Place, module: &str) -> Outcome {
    let small = [
        "WithProcessesTestQueue",
        "WithProcessesTestValue",
        "WithProcessesTestArray",
        "WithProcessesTestHeap",
        "WithProcessesTestSharedMemory",
        "WithProcessesTestSharedCTypes",
        "WithThreadsTestPool",
        "OtherTest",
        "TestNoForkBomb",
        "TestForkAwareThreadLock",
        "TestCloseFds",
    ];
    let chosen = place.scale().pick(&small[..], &[]);
    suite(place, module, chosen)
}

/// Runs a module of Python's tests, or those of its classes that are `chosen`, and notes the outcome of
/// every single test.
fn suite(place: &mut Place, module: &str, chosen: &[&str]) -> Outcome {
    let mut step = place.subject("python3").args(["-m", "test", "-v"]);
    for class in chosen {
        step = step.args(["-m", class]);
    }
    let finished = place.run(step.arg(module))?;
    let mut outcomes = outcomes(&(finished.stdout()? + &finished.stderr()?));
    if outcomes.is_empty() {
        fail!("{}", finished.report("ran no test"));
    }
    // The order is free, and some modules load a class under two names.
    outcomes.sort_unstable();
    place.note("outcomes", outcomes.join("\n"));
    Ok(())
}

/// The lines `test_x (module.Class) ... ok`. What a test prints itself may stand between the name and
/// the outcome; then only the name counts.
fn outcomes(text: &str) -> Vec<String> {
    let is_test = |line: &&str| line.starts_with("test") && line.contains(" (") && line.contains(") ...");
    let shorten = |line: &str| {
        let (name, outcome) = line.split_once(" ... ").unwrap_or((line, ""));
        let known = ["ok", "skipped", "FAIL", "ERROR", "expected failure"];
        let outcome = known.iter().find(|word| outcome.starts_with(**word)).unwrap_or(&"");
        format!("{name}: {outcome}")
    };
    text.lines().filter(is_test).map(shorten).collect()
}

#[cfg(test)]
mod tests {
    use super::outcomes;

    #[test]
    fn outcomes_are_read_from_verbose_output() {
        let text =
            "test_a (m.C.test_a) ... ok\nnoise\ntest_b (m.C.test_b) ... skipped 'why'\ntest_c (m.C) ... 17\n";
        assert_eq!(
            outcomes(text),
            ["test_a (m.C.test_a): ok", "test_b (m.C.test_b): skipped", "test_c (m.C): "]
        );
    }
}

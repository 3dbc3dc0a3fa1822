//! Logging.

use crate::conformance::{self as suite, Held, Parent, Serves, layout};
use freestone_kit::c::C;
use freestone_kit::failing::{Failing, FailingConfig};
use freestone_kit::logging::{Action, Event, Logging, ToLog, ToWriter};
use freestone_kit::page::Page;
use freestone_kit::{Alloc, Stats, counting::Counting};
use std::cell::RefCell;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::Mutex;

#[test]
fn keeps_the_contract() {
    let quiet = |_: &Event| {};
    suite::check(&Logging::new(Parent::new(), quiet), Serves::ALL);
    suite::check_usable_size(&Logging::new(C, quiet), Serves::ALL);
    suite::check_resize_in_place(&Logging::new(C, quiet), Serves::ALL);
    suite::check_remap(&Logging::new(Page, quiet), Serves::ALL);
    suite::check_over_failing_parent(|parent| Some(Logging::new(parent, quiet)), Serves::ALL);
}

#[test]
fn a_line_a_call() {
    let failing = Failing::new(C, FailingConfig::NEVER.fail_index(2).resize_fail_index(3));
    let logging = Logging::new(failing, ToWriter::new(Vec::new()));
    let held = Held::new(&logging, layout(100, 8)).unwrap();
    let held = held.resize(&logging, 150, true).unwrap();
    let held = held.resize(&logging, 50, false).unwrap();
    let held = held.resize_in_place(&logging, 40).unwrap();
    let (held, _) = held.resize(&logging, 300, false).unwrap_err();
    held.free(&logging);
    let zeroed = logging.allocate_zeroed(layout(0, 4)).unwrap();
    // SAFETY: a live block of that layout.
    #[allow(unsafe_code)]
    unsafe {
        logging.deallocate(zeroed.cast(), layout(0, 4));
    };
    assert!(logging.allocate(layout(9, 1)).is_err());
    let lines = String::from_utf8(logging.into_sink().into_inner()).unwrap();
    assert_eq!(
        lines,
        "\
allocate: 100 bytes, align 8
grow zeroed: 100 to 150 bytes, align 8
shrink: 150 to 50 bytes, align 8
resize in place: 50 to 40 bytes, align 8
grow: 40 to 300 bytes, align 8, refused
free: 40 bytes, align 8
allocate zeroed: 0 bytes, align 4
free: 0 bytes, align 4
allocate: 9 bytes, align 1, refused
"
    );
}

#[test]
fn an_event_tells_where() {
    let events = RefCell::new(Vec::new());
    let logging = Logging::new(C, |event: &Event| events.borrow_mut().push(*event));
    let held = Held::new(&logging, layout(10, 1)).unwrap();
    let address = held.address().addr().get();
    let held = held.resize(&logging, 10_000, false).unwrap();
    let moved = held.address().addr().get();
    held.free(&logging);
    let seen: Vec<_> = events.borrow().iter().map(|event| (event.action, event.from, event.at)).collect();
    assert_eq!(
        seen,
        [
            (Action::Allocate, None, Some(address)),
            (Action::Grow, Some(address), Some(moved)),
            (Action::Free, Some(moved), None),
        ]
    );
    assert!(events.borrow().iter().all(Event::granted));
}

/// A vector's block was moved when the sink is told: if a panic unwound from there, the vector would free the old one.
#[test]
fn a_sink_that_panics_ends_the_process() {
    const VARIABLE: &str = "FREESTONE_KIT_TEST_SINK";
    if std::env::var_os(VARIABLE).is_some() {
        let logging = Logging::new(C, |event: &Event| assert_ne!(event.action, Action::Grow, "no growing"));
        let held = Held::new(&logging, layout(10, 1)).unwrap();
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            held.resize(&logging, 10_000, false).map(|held| held.free(&logging)).map_err(|_| ())
        }));
        println!("went on");
        return;
    }
    let test = concat!(module_path!(), "::a_sink_that_panics_ends_the_process").split_once("::").unwrap().1;
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(VARIABLE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(6), "{output:?}");
    assert!(
        said.contains("no growing") && said.contains("the sink of a logging allocator has panicked"),
        "{said}"
    );
}

#[test]
fn a_sink_that_allocates_is_not_told_of_itself() {
    struct Recursive(Mutex<Vec<String>>);
    static COUNTING: Counting<C> = Counting::new(C);
    impl freestone_kit::logging::Sink for Recursive {
        fn record(&self, event: &Event) {
            // The same allocator again, as if it were the program's.
            let logging = Logging::new(&COUNTING, |_: &Event| panic!("told of its own"));
            Held::new(&logging, layout(8, 8)).unwrap().free(&logging);
            self.0.lock().unwrap().push(event.to_string());
        }
    }
    let logging = Logging::new(&COUNTING, Recursive(Mutex::default()));
    Held::new(&logging, layout(1, 1)).unwrap().free(&logging);
    assert_eq!(logging.sink().0.lock().unwrap().len(), 2);
    assert_eq!(COUNTING.stats().total_blocks, 3);
}

#[test]
fn the_crate_log_is_told_at_the_level_that_was_chosen() {
    struct Kept(Mutex<Vec<String>>);
    impl log::Log for Kept {
        fn enabled(&self, _metadata: &log::Metadata) -> bool {
            true
        }
        fn log(&self, record: &log::Record) {
            let line = format!("{} {}: {}", record.level(), record.target(), record.args());
            self.0.lock().unwrap().push(line);
        }
        fn flush(&self) {}
    }
    static KEPT: Kept = Kept(Mutex::new(Vec::new()));
    log::set_logger(&KEPT).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let sink = ToLog { target: "kit-test", ..ToLog::default() };
    let logging = Logging::new(Failing::new(C, FailingConfig::NEVER.fail_index(1)), sink);
    Held::new(&logging, layout(8, 8)).unwrap().free(&logging);
    assert!(logging.allocate(layout(8, 8)).is_err());
    let lines =
        KEPT.0.lock().unwrap().iter().filter(|line| line.contains("kit-test")).cloned().collect::<Vec<_>>();
    assert_eq!(
        lines,
        [
            "DEBUG kit-test: allocate: 8 bytes, align 8",
            "DEBUG kit-test: free: 8 bytes, align 8",
            "ERROR kit-test: allocate: 8 bytes, align 8, refused"
        ]
    );
}

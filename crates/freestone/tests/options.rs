//! Options as `docs/tuning.md` has them: which there are, what is said of those that cannot be taken, and what some of them do that shows
//! in a process of its own only.
//!
//! # Safety
//!
//! The only symbol of a fixed name is the one that [`Options`] is meant for; keys are made for a type that needs no destructor.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::process::{Command, Output};

use freestone::{Options, raw};

#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static freestone_conf: Options = Options::new(c"limit_soft:3G,colour:5");

/// What this program says of the constant above, each time.
const OF_THE_CONSTANT: &str = "freestone: freestone_conf: `colour:5`: the value must be 0 or 1; ignored\n";

fn documentation() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/tuning.md")).unwrap()
}

/// What stands below a heading, up to the next.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, behind) = text.split_once(&format!("\n## {heading}\n")).expect(heading);
    behind.split("\n## ").next().unwrap()
}

/// What the child does that runs with `conf`.
#[test]
fn child() {
    let Some(case) = std::env::var_os("FREESTONE_TEST_CASE") else { return };
    match case.to_str().unwrap() {
        "limit" => {
            raw::malloc(1);
            println!("soft limit {:?}", freestone::limit::soft());
        }
        "without keys" => {
            let mut key = 0;
            // SAFETY: a place for the key's number.
            while unsafe { libc::pthread_key_create(&mut key, None) } == 0 {}
            assert!(!raw::malloc(1).is_null());
        }
        "until refused" => {
            while !raw::malloc(1 << 20).is_null() {}
            assert!(raw::malloc(1 << 20).is_null());
            // Small blocks, which are refused later.
            while !raw::malloc(1000).is_null() {}
        }
        "nothing" => assert!(!raw::malloc(1).is_null()),
        other => panic!("{other}"),
    }
}

fn run(conf: &str, case: &str) -> Output {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env("FREESTONE_CONF", conf)
        .env("FREESTONE_TEST_CASE", case)
        .output()
        .unwrap();
    assert!(output.status.success(), "{conf}: {case}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// What is said beside what the constant is answered with.
fn said(conf: &str, case: &str) -> String {
    let text = String::from_utf8(run(conf, case).stderr).unwrap();
    // Where the constant is not looked for, nothing is said of it.
    text.strip_prefix(OF_THE_CONSTANT).map(String::from).unwrap_or(text)
}

#[test]
fn what_cannot_be_taken_is_answered_as_the_documentation_has_it() {
    let text = documentation();
    let messages = section(&text, "What Freestone says").lines();
    let messages: Vec<&str> =
        messages.filter(|line| line.starts_with("freestone: FREESTONE_CONF: `")).collect();
    assert!(messages.len() >= 9, "{messages:?}");
    for message in messages {
        let pair = message.split('`').nth(1).unwrap();
        assert_eq!(said(pair, "nothing"), format!("{message}\n"));
    }
}

#[test]
fn every_option_has_its_row_and_every_row_its_option() {
    let text = documentation();
    let mut rows = BTreeSet::new();
    for heading in ["Fixed from the start", "Knobs"] {
        let keys =
            section(&text, heading).lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        rows.extend(keys.map(String::from));
    }
    let answer = said("none:0", "nothing");
    let (_, known) = answer.split_once("there are: ").expect("a list");
    let known = known.strip_suffix("; ignored\n").expect("its end").split(' ');
    assert_eq!(known.map(String::from).collect::<BTreeSet<_>>(), rows);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_constant_is_taken_and_the_environment_overrides_it() {
    let limit = |conf: &str| String::from_utf8(run(conf, "limit").stdout).unwrap();
    assert!(limit("").contains(&format!("soft limit {:?}", Some(3usize << 30))));
    let twice = limit("limit_soft:1G , limit_soft:2G");
    assert!(twice.contains(&format!("soft limit {:?}", Some(2usize << 30))), "{twice}");
    let text = String::from_utf8(run("", "nothing").stderr).unwrap();
    assert_eq!(text, OF_THE_CONSTANT);
}

#[test]
fn without_a_key_there_are_no_caches_of_threads() {
    let words =
        "freestone: cache:thread cannot take effect here (no pthread key is left); using cache:none\n";
    assert_eq!(said("cache:thread", "without keys"), words);
}

#[test]
fn the_first_of_refusals_that_follow_each_other_is_reported() {
    let text = said("oom_report:1,limit_hard:32M,harden:0", "until refused");
    assert_eq!(text.matches("freestone: out of memory: 1.0 MiB refused; footprint ").count(), 1, "{text}");
    assert_eq!(text.matches("out of memory").count(), 1, "{text}");
    assert!(text.contains("hard limit 32.0 MiB") && text.contains("largest holders: "), "{text}");
    let quiet = said("oom_report:0,limit_hard:32M,harden:0", "until refused");
    assert_eq!(quiet, "");
}

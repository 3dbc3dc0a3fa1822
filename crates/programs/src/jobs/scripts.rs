//! Perl, Ruby, Lua and PHP: interpreters whose every string and table comes from malloc.

use crate::job::{Job, Need, Outcome};
use crate::place::Place;

/// Works in Perl; its argument is the number of rounds, as in the others.
pub const PERL: &str = include_str!("scripts/work.pl");
/// Works in Ruby.
pub const RUBY: &str = include_str!("scripts/work.rb");
/// Works in Lua.
pub const LUA: &str = include_str!("scripts/work.lua");
const PHP: &str = include_str!("scripts/work.php");

/// The family's jobs.
pub const JOBS: &[Job] = &[
    Job::plain(
        "perl",
        "perl: hashes, regular expressions, growing strings, interpreter threads",
        &[Need::command("perl", "perl")],
        perl,
    ),
    Job::plain(
        "ruby",
        "ruby: objects, the compacting collector, threads, fibers, fork",
        &[Need::command("ruby", "ruby")],
        ruby,
    ),
    Job::plain(
        "lua",
        "lua: tables, strings, coroutines, both kinds of collection",
        &[Need::command("lua5.4", "lua5.4")],
        lua,
    ),
    Job::plain(
        "php",
        "php with USE_ZEND_ALLOC=0: arrays, objects, JSON, regular expressions",
        &[Need::command("php", "php-cli")],
        php,
    ),
];

fn perl(place: &mut Place) -> Outcome {
    let script = place.write("work.pl", PERL)?;
    let step = place.subject("perl").arg(script).arg(place.scale().pick("3", "100"));
    place.run_and_note("script", step.env("PERL_HASH_SEED", "0"))?;
    Ok(())
}

fn ruby(place: &mut Place) -> Outcome {
    let script = place.write("work.rb", RUBY)?;
    let step = place.subject("ruby").arg(script).arg(place.scale().pick("3", "80"));
    place.run_and_note("script", step)?;
    Ok(())
}

fn lua(place: &mut Place) -> Outcome {
    let script = place.write("work.lua", LUA)?;
    let step = place.subject("lua5.4").arg(script).arg(place.scale().pick("15", "400"));
    place.run_and_note("script", step)?;
    Ok(())
}

fn php(place: &mut Place) -> Outcome {
    let script = place.write("work.php", PHP)?;
    // It loads its extensions with RTLD_DEEPBIND: they would call the C library's free, did our dlopen not ignore that.
    let step = place.subject("php").arg(script).arg(place.scale().pick("25", "800"));
    place.run_and_note("script", step.env("USE_ZEND_ALLOC", "0"))?;
    Ok(())
}

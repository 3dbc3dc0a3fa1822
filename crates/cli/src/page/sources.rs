//! What a file is, and what it says.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use freestone_pictures::charts::axis::Unit;
use freestone_pictures::charts::flame::Measure;
use freestone_pictures::pprof;
use freestone_pictures::quantity::{bytes, time};
use freestone_pictures::report::{Kind, Profile, Sources};
use freestone_pictures::stacks::read_folded;

use freestone_profile::{self as profile, Raw, Symbols};

use super::{figures, trace};
use crate::quantity::count;

/// Larger files that are no traces are not what they are taken for.
const LONGEST: u64 = 1 << 30;

/// Reads all files; the message says which is wrong, and how.
pub fn read(files: &[PathBuf], process: Option<usize>) -> Result<Sources, String> {
    let mut sources = Sources::default();
    let mut made_from = Vec::new();
    for file in files {
        let what =
            one(file, process, &mut sources).map_err(|message| format!("{}: {message}", file.display()))?;
        made_from.push(format!("{what} {}", file.display()));
    }
    if sources.command.is_empty() {
        sources.command =
            files[0].file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    }
    sources.made_from = format!("Made from {}.", made_from.join(", "));
    Ok(sources)
}

/// Reads one file into what is known; what it was.
fn one(file: &Path, process: Option<usize>, sources: &mut Sources) -> Result<&'static str, String> {
    let mut head = [0; 64];
    let opened = std::fs::File::open(file).map_err(|error| error.to_string())?;
    let length = opened.metadata().map_err(|error| error.to_string())?;
    if length.is_dir() {
        return Err("it is a folder; give the files in it".into());
    }
    let got = (&opened).take(64).read(&mut head).map_err(|error| error.to_string())?;
    let head = &head[..got];
    if head.is_empty() {
        return Err("it is empty".into());
    }
    if head.starts_with(b"freestone trace ") {
        return Err("a trace of the kit has no addresses, times or stacks; `freestone lab` draws it".into());
    }
    if head.starts_with(&[0x1f, 0x8b]) {
        let mut profile = Vec::new();
        let unpacked =
            flate2::read::MultiGzDecoder::new(std::fs::File::open(file).map_err(|error| error.to_string())?);
        let length = unpacked.take(LONGEST).read_to_end(&mut profile);
        length.map_err(|error| format!("it is compressed, and cannot be unpacked: {error}"))?;
        let measures = pprof::read(&profile, &mut sources.stacks)?;
        let kinds = measures.iter().map(|measure| Kind::named(&measure.name)).collect();
        add(file, measures, kinds, String::new(), sources);
        return Ok("the profile");
    }
    if head.starts_with(b"freestone-heap-profile") {
        if length.len() > LONGEST {
            return Err("it is too long for a heap profile".into());
        }
        let text = std::fs::read(file).map_err(|error| error.to_string())?;
        let (measures, kinds, taken) = heap_profile(&String::from_utf8_lossy(&text), sources)?;
        add(file, measures, kinds, taken, sources);
        return Ok("the heap profile");
    }
    // What is neither a trace nor text was meant to be a trace.
    let is_text = !head.iter().any(|&byte| byte == 0 || byte >= 0xf8);
    if !is_text {
        if sources.studied.is_some() {
            return Err("a page shows one trace, and there was one already".into());
        }
        trace::read(file, process, sources)?;
        return Ok("the trace");
    }
    if length.len() > LONGEST {
        return Err("it is no trace, and too long for figures or stacks".into());
    }
    let contents = std::fs::read(file).map_err(|error| error.to_string())?;
    if head.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{') {
        if sources.figures.is_some() {
            return Err("a page shows the figures of one run, and there were some already; `freestone why` compares two".into());
        }
        figures::read(&contents, sources)?;
        return Ok("the figures in");
    }
    let text = String::from_utf8(contents)
        .map_err(|_| "it is neither a trace, nor figures as JSON, nor folded stacks".to_owned())?;
    let values = read_folded(&text, &mut sources.stacks)?;
    let values: Vec<_> = values.into_iter().map(|(stack, value)| (stack, value as f64)).collect();
    if values.is_empty() {
        return Err("it holds no stacks".into());
    }
    let measure = Measure { name: "bytes".into(), unit: Unit::Bytes, values };
    add(file, vec![measure], vec![Kind::Other], String::new(), sources);
    Ok("the stacks in")
}

/// What a profile of the library's measures, with names for its addresses, and how it was taken. What it does not measure is left out.
fn heap_profile(text: &str, sources: &mut Sources) -> Result<(Vec<Measure>, Vec<Kind>, String), String> {
    let raw = Raw::parse(text).map_err(|damage| damage.what)?;
    if let Some(damage) = &raw.damage {
        sources.notes.push(format!("The heap profile is damaged, what stands before is shown: {damage}."));
    }
    if raw.dropped > 0 {
        let words = "samples are missing in the heap profile, for which the process had no memory.";
        sources.notes.push(format!("{} {words}", count(raw.dropped)));
    }
    let mut symbols = Symbols::new();
    let profile = symbols.resolve(&raw);
    sources.notes.extend(symbols.complaints().iter().map(|complaint| format!("{complaint}.")));
    if profile.stacks.is_empty() {
        return Err("no call was sampled in it".into());
    }
    let entered: Vec<_> = profile
        .stacks
        .iter()
        .map(|stack| sources.stacks.enter(profile.frames(stack).rev().map(trace::label)))
        .collect();
    const ORDER: [profile::Measure; 11] = [
        profile::Measure::LiveBytes,
        profile::Measure::AllocatedBytes,
        profile::Measure::PeakBytes,
        profile::Measure::StrandedBytes,
        profile::Measure::LostBytes,
        profile::Measure::IdleBytes,
        profile::Measure::LiveObjects,
        profile::Measure::AllocatedObjects,
        profile::Measure::PeakObjects,
        profile::Measure::LostObjects,
        profile::Measure::IdleObjects,
    ];
    let measured: Vec<_> = ORDER.into_iter().filter(|&measure| profile.total(measure) > 0.0).collect();
    let kinds = measured.iter().map(|measure| Kind::named(measure.pprof_names().0)).collect();
    let measures = measured.into_iter().map(|measure| Measure {
        name: measure.meaning().into(),
        unit: if measure.is_bytes() { Unit::Bytes } else { Unit::Count },
        values: entered
            .iter()
            .zip(&profile.stacks)
            .map(|(&id, stack)| (id, stack.get(measure)))
            .filter(|(_, value)| *value > 0.0)
            .collect(),
    });
    let span = time(Duration::from_nanos(raw.duration_ns));
    let mean = bytes(raw.mean);
    let taken = format!(
        "These are estimates from samples {mean} of requests apart, taken for {span}; what is smaller than that may be missing."
    );
    Ok((measures.collect(), kinds, taken))
}

/// Puts a profile among the sources; where there are several, each is called after its file.
fn add(file: &Path, mut measures: Vec<Measure>, kinds: Vec<Kind>, taken: String, sources: &mut Sources) {
    let title = file.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let profile =
        sources.profile.get_or_insert_with(|| Profile { title: title.clone(), taken, ..Profile::default() });
    let several = !profile.measures.is_empty();
    let of_first = format!(" of {}", profile.title);
    if several && !profile.measures.iter().any(|measure| measure.name.ends_with(&of_first)) {
        profile.measures.iter_mut().for_each(|measure| measure.name += &of_first);
    }
    let of_this = if several { format!(" of {title}") } else { String::new() };
    for measure in &mut measures {
        measure.name = measure.name.replace('_', " ") + &of_this;
    }
    profile.measures.extend(measures);
    profile.kinds.extend(kinds);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private_dir::PrivateDir;

    fn read_bytes(bytes: &[u8]) -> Result<Sources, String> {
        let dir = PrivateDir::new().unwrap();
        let file = dir.own_file("input");
        std::fs::write(&file, bytes).unwrap();
        read(&[file], None)
    }

    #[test]
    fn each_kind_of_file_is_known_by_what_is_in_it() {
        let fixture = include_bytes!("../../tests/fixtures/snapshot.json");
        let sources = read_bytes(fixture).unwrap();
        assert_eq!(sources.command, "python3");
        let page = sources.page();
        assert!(page.contains("Resident memory") && page.contains("Where every byte is"));
        let sources = read_bytes(b"main;load 100\nmain;store 20\n").unwrap();
        assert_eq!(sources.profile.as_ref().unwrap().measures[0].values.len(), 2);
        assert!(sources.page().contains("load"));
        let heap = b"freestone-heap-profile 1\nmean 1000\nmap 1000-2000 0 - [p]\n\
            site a 3 2 9 9 2 4000 2 40 0 0 100 : 1010 1020\nend 1\n";
        let sources = read_bytes(heap).unwrap();
        let measures = &sources.profile.as_ref().unwrap().measures;
        assert_eq!(measures[0].name, "bytes in live blocks");
        assert_eq!((measures[0].values[0].1, measures.len()), (4000.0, 7));
        assert!(sources.notes.is_empty() && sources.page().contains("[p]+0xf"));
        let cut = read_bytes(&heap[..heap.len() - 7]).unwrap();
        assert!(cut.notes[0].contains("damaged"), "{:?}", cut.notes);
    }

    #[test]
    fn several_profiles_are_told_apart_by_their_files() {
        let dir = PrivateDir::new().unwrap();
        let files = ["before", "after", "later"].map(|name| dir.own_file(name));
        files.iter().for_each(|file| std::fs::write(file, "main;load 100\n").unwrap());
        let measures = read(&files, None).unwrap().profile.unwrap().measures;
        let ends = ["before", "after", "later"].map(|name| format!(" of {name}"));
        assert!(measures.iter().zip(&ends).all(|(measure, end)| measure.name.ends_with(end)), "{measures:?}");
        assert!(measures.iter().all(|measure| measure.name.matches(" of ").count() == 1), "{measures:?}");
    }

    #[test]
    fn what_is_nothing_is_refused_in_words() {
        for (bytes, expected) in [
            (&b""[..], "it is empty"),
            (b"freestone trace 1\nx\n", "`freestone lab` draws it"),
            (b"{\"a\":", "no figures"),
            (b"{}", "no figures"),
            (b"just words", "line 1 is no folded stack"),
            (b"main;load 18446744073709551616", "line 1 is no folded stack"),
            (b"\0\0\0\0", "not a trace"),
            (b"\x1f\x8b\x08\0\xff\xff", "cannot be unpacked"),
            (b"\x7fELF\x02\x01\x01\0", "not a trace"),
            (b"freestone-heap-profile 1\n", "no call was sampled"),
            (b"freestone-heap-profile 9\n", "another version"),
            (b"# only a remark\n", "no stacks"),
        ] {
            let message = read_bytes(bytes).unwrap_err();
            assert!(message.contains(expected), "{bytes:?}: {message}");
        }
        assert!(read(&["/nonexistent/file".into()], None).unwrap_err().contains("No such file"));
        assert!(read(&["/".into()], None).unwrap_err().contains("folder"));
    }
}

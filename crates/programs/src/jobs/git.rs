//! Git: cloning, repacking and checking a repository with a long made-up history.

use std::fmt::Write;

use super::text::Numbers;
use crate::job::{Job, Need, Outcome};
use crate::place::Place;

/// The family's jobs.
pub const JOBS: &[Job] = &[Job {
    name: "git",
    about: "git cloning and repacking a large repository in threads, then fsck, log and blame",
    needs: &[Need::command("git", "git")],
    limit: 180,
    prepare: Some(make_repository),
    run,
}];

const FILES: u64 = 300;

/// A stream for `git fast-import`: each commit rewrites lines of a few files.
fn make_repository(place: &mut Place) -> Outcome {
    let commits = place.scale().pick(1500, 20_000);
    let mut numbers = Numbers(29);
    let mut files: Vec<Vec<String>> =
        (0..FILES).map(|_| (0..30 + numbers.below(250)).map(|_| numbers.line(9)).collect()).collect();
    let mut stream = String::new();
    for commit in 0..commits {
        let message = numbers.line(12);
        let when = 1_600_000_000 + commit * 600;
        let _ = write!(
            stream,
            "commit refs/heads/main\ncommitter A U Thor <a@example.org> {when} +0000\ndata {}\n{message}\n",
            message.len()
        );
        for _ in 0..1 + numbers.below(3) {
            let file = numbers.below(FILES) as usize;
            for _ in 0..1 + numbers.below(12) {
                let line = numbers.below(files[file].len() as u64) as usize;
                files[file][line] = numbers.line(9);
            }
            let new_line = numbers.line(9);
            files[file].push(new_line);
            let text = files[file].join("\n");
            let folder = file % 17;
            let _ = write!(stream, "M 100644 inline d{folder}/f{file}.txt\ndata {}\n{text}\n", text.len());
        }
    }
    let stream = place.write("stream", stream)?;
    let step = place.tool("git").args(["init", "--quiet", "--bare", "--initial-branch=main", "origin.git"]);
    place.run(step)?;
    let origin = place.path("origin.git");
    let step = place.tool("git").args(["fast-import", "--quiet"]).within(&origin).input(&stream);
    place.run(step)?;
    std::fs::remove_file(stream)?;
    Ok(())
}

fn run(place: &mut Place) -> Outcome {
    let origin = format!("file://{}", place.inputs().join("origin.git").display());
    let git = |place: &Place, arguments: &[&str]| {
        let step = place.subject("git").args(["-c", "gc.auto=0"]).args(arguments);
        step.env("GIT_CONFIG_NOSYSTEM", "1")
    };
    let step = git(place, &["clone", "--quiet", &origin, "copy"]);
    place.run_and_note("clone", step)?;
    let copy = place.path("copy");
    // With several threads the pack's bytes depend on timing; its contents do not.
    let repack = ["repack", "-a", "-d", "-f", "-q", "--threads=2", "--window=20", "--depth=50"];
    let step = git(place, &repack).within(&copy);
    place.run_and_note("repack", step)?;
    let step = git(place, &["fsck", "--full", "--strict"]).within(&copy);
    place.run_and_note("fsck", step)?;
    let step = git(place, &["rev-list", "--objects", "--all"]).within(&copy);
    place.run_and_note("rev-list", step)?;
    let step = git(place, &["log", "--stat", "-p", "-M", "-n", "300"]).within(&copy);
    place.run_and_note("log", step)?;
    let step = git(place, &["blame", "-C", "-w", "d3/f3.txt"]).within(&copy);
    place.run_and_note("blame", step)?;
    let step = git(place, &["grep", "-n", "-E", "(wex|jun).*zu$", "HEAD~50"]).within(&copy);
    place.run_and_note("grep", step)?;
    Ok(())
}

//! Packing and unpacking, with threads where the tools have them.

use super::text::Numbers;
use crate::job::{Job, Need, Outcome};
use crate::place::Place;

/// The family's jobs.
pub const JOBS: &[Job] = &[Job {
    name: "archives",
    about: "tar with xz and zstd in threads, gzip and bzip2; packed, compared, unpacked",
    needs: &[
        Need::command("tar", "tar"),
        Need::command("xz", "xz-utils"),
        Need::command("zstd", "zstd"),
        Need::command("bzip2", "bzip2"),
    ],
    limit: 120,
    prepare: Some(make_files),
    run,
}];

fn make_files(place: &mut Place) -> Outcome {
    let mut numbers = Numbers(67);
    std::fs::create_dir(place.path("files"))?;
    let lines = place.scale().pick(800, 30_000);
    for file in 0..60 {
        let text: Vec<String> = (0..lines).map(|_| numbers.line(12)).collect();
        place.write(&format!("files/{file}.txt"), text.join("\n"))?;
    }
    Ok(())
}

fn run(place: &mut Place) -> Outcome {
    let inputs = place.inputs().to_path_buf();
    let plain =
        ["--sort=name", "--mtime=2020-01-01", "--owner=0", "--group=0", "--numeric-owner", "-cf", "all.tar"];
    let step = place.subject("tar").args(plain).arg("-C").arg(&inputs).arg("files");
    place.run_and_note("tar", step)?;
    place.note_file("all.tar")?;
    let packers: [(&str, &[&str], &str); 4] = [
        ("xz", &["-k", "-T2", "-1", "--block-size=1MiB"], "xz"),
        ("zstd", &["-q", "-k", "-T2", "-9"], "zst"),
        ("gzip", &["-k", "-n", "-6"], "gz"),
        ("bzip2", &["-k", "-9"], "bz2"),
    ];
    for (packer, options, ending) in packers {
        let step = place.subject(packer).args(options).arg("all.tar");
        place.run_and_note(packer, step)?;
        let packed = format!("all.tar.{ending}");
        place.note_file(&packed)?;
        let step = place.subject(packer).args(["-d", "-c", &packed]);
        place.run_and_note("unpacking", step)?;
    }
    std::fs::create_dir(place.path("out"))?;
    let step = place.subject("tar").args(["-C", "out", "-xf", "all.tar.xz"]);
    place.run_and_note("extracting", step)?;
    place.note_file("out/files/7.txt")
}

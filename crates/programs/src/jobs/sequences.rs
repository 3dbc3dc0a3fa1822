//! samtools: records of a sequencer, sorted in little memory by threads that pass them on, packed and read back.

use super::text::Numbers;
use crate::job::{Job, Need, Outcome};
use crate::place::Place;

/// The family's jobs.
pub const JOBS: &[Job] = &[Job {
    name: "samtools",
    about: "samtools: records sorted with two threads by way of files, packed, indexed, counted",
    needs: &[Need::command("samtools", "samtools")],
    limit: 120,
    prepare: Some(make_records),
    run,
}];

fn make_records(place: &mut Place) -> Outcome {
    let mut numbers = Numbers(83);
    let mut text = String::from("@HD\tVN:1.6\tSO:unsorted\n");
    for chromosome in 1..=20 {
        text += &format!("@SQ\tSN:chr{chromosome}\tLN:1000000\n");
    }
    let quality = "I".repeat(100);
    for record in 0..place.scale().pick(30_000, 1_000_000) {
        let (chromosome, at) = (1 + numbers.below(20), 1 + numbers.below(999_000));
        let sequence: String = (0..100).map(|_| ['A', 'C', 'G', 'T'][numbers.below(4) as usize]).collect();
        text += &format!("r{record}\t0\tchr{chromosome}\t{at}\t60\t100M\t*\t0\t0\t{sequence}\t{quality}\n");
    }
    place.write("records.sam", text)?;
    Ok(())
}

fn run(place: &mut Place) -> Outcome {
    let records = place.inputs().join("records.sam");
    let options = ["sort", "--no-PG", "-@", "2", "-m", "2M", "-T", "part", "-o", "sorted.bam"];
    let step = place.subject("samtools").args(options).arg(&records);
    place.run_and_note("sort", step)?;
    place.note_file("sorted.bam")?;
    let step = place.subject("samtools").args(["index", "sorted.bam"]);
    place.run_and_note("index", step)?;
    for options in [
        &["view", "--no-PG", "-@", "2", "sorted.bam", "chr7:1000-90000", "chr20"][..],
        &["idxstats", "sorted.bam"],
        &["depth", "-r", "chr3", "sorted.bam"],
    ] {
        let step = place.subject("samtools").args(options);
        place.run_and_note(options[0], step)?;
    }
    Ok(())
}

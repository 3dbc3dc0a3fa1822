//! Images and video: large aligned blocks, threads, results that must be the same to the bit.

use crate::job::{Job, Need, Outcome};
use crate::place::Place;

/// The family's jobs.
pub const JOBS: &[Job] = &[
    Job {
        name: "imagemagick",
        about: "ImageMagick: gradients, distortion, blur, quantisation in threads; PNG and JPEG",
        needs: &[Need::command("convert", "imagemagick")],
        limit: 120,
        prepare: None,
        run: imagemagick,
    },
    Job {
        name: "ffmpeg",
        about: "ffmpeg: a test picture and tone encoded in threads, decoded, every frame's digest",
        needs: &[Need::command("ffmpeg", "ffmpeg")],
        limit: 120,
        prepare: None,
        run: ffmpeg,
    },
];

fn imagemagick(place: &mut Place) -> Outcome {
    let size = place.scale().pick("1000x800", "5000x4000");
    let step = place.subject("convert").args(["-size", size, "gradient:navy-orange", "("]);
    let step =
        step.args(["-size", size, "pattern:checkerboard", "-swirl", "120", ")", "-compose", "overlay"]);
    let step = step.args(["-composite", "-distort", "Arc", "60", "-blur", "0x3", "-sharpen", "0x2"]);
    let step = step.args(["-colors", "200", "-resize", "80%", "-depth", "8", "rgb:picture.rgb"]);
    place.run_and_note("making", step)?;
    place.note_file("picture.rgb")?;
    let source = ["-size", size, "plasma:red-blue", "-seed", "5", "gradient:black-white", "-delete", "0"];
    let step = place.subject("convert").args(source);
    let step = step.args(["-define", "png:exclude-chunks=date,time,tIME", "+set", "date:create", "+set"]);
    let step = step.args(["date:modify", "-paint", "3", "-rotate", "17", "picture.png"]);
    place.run_and_note("painting", step)?;
    let step = place.subject("convert").args([
        "picture.png",
        "-quality",
        "85",
        "+dither",
        "-monochrome",
        "gray:out",
    ]);
    place.run_and_note("reading", step)?;
    place.note_file("out")?;
    let step = place.subject("identify").args(["-format", "%w %h %# %k\n", "picture.png"]);
    place.run_and_note("identify", step)?;
    Ok(())
}

fn ffmpeg(place: &mut Place) -> Outcome {
    let seconds = place.scale().pick(4, 240);
    let picture = format!("testsrc2=size=640x480:rate=25:duration={seconds}");
    let tone = format!("sine=frequency=440:duration={seconds}");
    let step = place.subject("ffmpeg").args(["-v", "error", "-y", "-nostdin", "-f", "lavfi", "-i", &picture]);
    let step = step.args(["-f", "lavfi", "-i", &tone, "-c:v", "libx264", "-preset", "fast", "-threads", "3"]);
    let step = step.args(["-c:a", "flac", "-fflags", "+bitexact", "-flags:v", "+bitexact", "film.mkv"]);
    place.run_and_note("encoding", step)?;
    let step = place.subject("ffmpeg").args(["-v", "error", "-nostdin", "-threads", "3", "-i", "film.mkv"]);
    let step =
        step.args(["-vf", "scale=320:-1,unsharp,hflip", "-f", "framemd5", "-fflags", "+bitexact", "-"]);
    place.run_and_note("frames", step)?;
    Ok(())
}

//! Every example program prints what it is to print: `examples/NAME.out` beside `examples/NAME.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Cargo puts the examples when it builds the tests: beside the folder that holds this test.
pub fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().join("examples").join(name)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// Runs an example and compares every line.
fn check(name: &str) -> Result<(), String> {
    let expected = fs::read_to_string(folder().join(name).with_extension("out"))
        .map_err(|error| format!("{name}: no expected output: {error}"))?;
    let program = built(name);
    // Some examples need features that this build may lack; Cargo leaves them out then.
    if !program.exists() {
        return Err(format!("{name} is not built: run `cargo test` without --test, or build --examples"));
    }
    let output = Command::new(program).output().map_err(|error| format!("{name}: {error}"))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{name}: {}\n{printed}\n{said}", output.status));
    }
    for (line, (is, was)) in printed.lines().zip(expected.lines()).enumerate() {
        if is != was {
            return Err(format!("{name}, line {}:\n  printed  {is}\n  expected {was}", line + 1));
        }
    }
    let (is, was) = (printed.lines().count(), expected.lines().count());
    if is != was {
        return Err(format!("{name}: {is} lines printed, {was} expected\n{printed}"));
    }
    Ok(())
}

#[test]
fn every_example_prints_what_it_is_to_print() {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "rs"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let wrong: Vec<String> = names.iter().filter_map(|name| check(name).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

//! `plot`: charts of a result.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::prelude::*;

use super::Done;
use crate::plot;
use crate::result::Results;

/// Runs the subcommand.
pub fn main(mut arguments: lexopt::Parser) -> Done {
    let mut paths: Vec<PathBuf> = Vec::new();
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(path) if paths.len() < 2 => paths.push(path.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    let [result, folder] = &paths[..] else { return Err("plot what, and where? plot RESULT FOLDER".into()) };
    if draw(&Results::read(result)?, folder)? == 0 {
        return Err(format!("{} has no figures to draw", result.display()).into());
    }
    Ok(ExitCode::SUCCESS)
}

/// Draws what there is, names the files, and returns how many they are.
pub fn draw(results: &Results, folder: &Path) -> Result<usize, String> {
    let charts = plot::charts(results);
    let told = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    std::fs::create_dir_all(folder).map_err(|error| told(folder, error))?;
    for chart in &charts {
        let path = folder.join(&chart.file);
        std::fs::write(&path, &chart.text).map_err(|error| told(&path, error))?;
        println!("{}", path.display());
    }
    Ok(charts.len())
}

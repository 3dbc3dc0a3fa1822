//! The ledger in real programs: whether its lines add up to what the kernel says is resident.
//!
//! Jobs run with the library asked for a report. Each process that ends writes its ledger then, with the kernel's figure of
//! the same moment; the processes of one job are drawn together.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde_json::Value;

use crate::fail;
use crate::job::Outcome;
use crate::session::Bench;
use crate::setting::Setting;

/// Jobs of as many different programs, for when none are named.
pub const USUAL: [&str; 14] = [
    "python",
    "python-malloc",
    "perl",
    "ruby",
    "lua",
    "gcc",
    "gxx",
    "git",
    "sqlite",
    "redis",
    "memcached",
    "postgres",
    "nginx",
    "node",
];

/// How far the lines may be off: a hundredth of what is resident.
pub const ALLOWED: f64 = 0.01;

/// How well the ledgers of one program's processes add up.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The process's name.
    pub program: String,
    /// Ledgers of processes of that name.
    pub ledgers: usize,
    /// Processes that wrote figures without a ledger.
    pub without: usize,
    /// The largest resident set among them, in bytes.
    pub resident: u64,
    /// The largest difference between the kernel's figure and the sum of the lines, in bytes.
    pub off: u64,
    /// The largest difference as a share of what was resident.
    pub share: f64,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<18}{:>8}{:>14.1} MiB{:>12} B{:>10.4} %",
            self.program,
            self.ledgers,
            self.resident as f64 / 1048576.0,
            self.off,
            self.share * 100.0
        )
    }
}

/// The head of a table of rows.
pub fn heading() -> String {
    format!("{:<18}{:>8}{:>18}{:>14}{:>12}", "program", "ledgers", "largest resident", "most off", "")
}

/// Runs a job with the library and reads the ledgers of all its processes: a row a program, the largest first.
pub fn measure(bench: &Bench, library: &Path) -> Outcome<Vec<Row>> {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::Builder::new().prefix("freestone-ledgers-").tempdir()?;
    // Servers that refuse to run as root write there, too.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777))?;
    let mut setting = Setting::preload("ledger", library);
    // As a setting's options live as long as the command, so does this one text a job.
    setting.options = Some(String::leak(format!("report:{}", folder.path().display())));
    bench.check(&setting)?;
    let rows = read(folder.path())?;
    if rows.iter().all(|row| row.ledgers == 0) {
        fail!("no process left a ledger");
    }
    Ok(rows)
}

fn read(folder: &Path) -> Outcome<Vec<Row>> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let text = std::fs::read(entry?.path())?;
        let report: Value = serde_json::from_str(&String::from_utf8_lossy(&text))?;
        let program = report["command"].as_str().unwrap_or("?").to_string();
        let row = rows.entry(program.clone()).or_insert_with(|| Row { program, ..Row::default() });
        add(row, &report["ledger"]);
    }
    let mut rows: Vec<Row> = rows.into_values().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.resident));
    Ok(rows)
}

fn add(row: &mut Row, ledger: &Value) {
    let Some(resident) = ledger["resident"].as_u64().filter(|&resident| resident > 0) else {
        row.without += 1;
        return;
    };
    // The sum is made here, not taken from the library's word.
    let lines = ledger["lines"].as_object().into_iter().flatten();
    let sum: u64 = lines.filter_map(|(_, bytes)| bytes.as_u64()).sum();
    let off = resident.abs_diff(sum);
    row.ledgers += 1;
    row.resident = row.resident.max(resident);
    row.off = row.off.max(off);
    row.share = row.share.max(off as f64 / resident as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_process_of_a_program_counts() {
        let folder = tempfile::tempdir().unwrap();
        for (number, (name, resident, live)) in
            [("a", 1000, 1000), ("a", 2000, 1990), ("b", 5000, 5000)].into_iter().enumerate()
        {
            let text = format!(
                "{{\"command\":\"{name}\",\"ledger\":{{\"resident\":{resident},\"lines\":{{\"live\":{live}}}}}}}"
            );
            std::fs::write(folder.path().join(format!("{number}.json")), text).unwrap();
        }
        std::fs::write(folder.path().join("9.json"), "{\"command\":\"b\"}").unwrap();
        let rows = read(folder.path()).unwrap();
        assert_eq!((rows[0].program.as_str(), rows[0].ledgers, rows[0].without), ("b", 1, 1));
        assert_eq!((rows[1].ledgers, rows[1].off, rows[1].resident), (2, 10, 2000));
        assert!((rows[1].share - 0.005).abs() < 1e-9);
    }
}

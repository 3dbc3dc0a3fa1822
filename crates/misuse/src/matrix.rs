//! The matrix: fault by allocator and mode.

use std::fmt::Write;

use crate::cases::{GROUPS, Suite};
use crate::outcome::{Outcome, Subject};

/// What came of every fault on every subject.
#[derive(Debug)]
pub struct Matrix {
    names: Vec<String>,
    /// By fault, then by subject; the worst of all rounds.
    cells: Vec<Vec<Outcome>>,
}

/// Lines that stand around the table in a document.
const BEGIN: &str = "<!-- misuse matrix: written by `freestone-misuse matrix --write` -->";
const END: &str = "<!-- end of the misuse matrix -->";

impl Matrix {
    /// Commits every fault `rounds` times on each subject; `progress` hears each subject's name as its turn comes.
    ///
    /// # Errors
    /// The first case that cannot be started.
    pub fn measure(
        suite: &Suite,
        subjects: &[Subject],
        rounds: usize,
        mut progress: impl FnMut(&str),
    ) -> Result<Matrix, String> {
        let mut cells = vec![Vec::new(); suite.faults.len()];
        for subject in subjects {
            progress(&subject.name);
            for (fault, row) in suite.faults.iter().zip(&mut cells) {
                let program = suite.executable(fault.program)?;
                let mut worst = Outcome::Reported;
                for _ in 0..rounds.max(1) {
                    let end = subject.commit(program, &fault.name);
                    worst = worst.max(end.map_err(|error| format!("{}: {error}", subject.name))?.outcome);
                }
                row.push(worst);
            }
        }
        Ok(Matrix { names: subjects.iter().map(|subject| subject.name.clone()).collect(), cells })
    }

    /// The tables in Markdown: the sums, then one row a fault.
    pub fn markdown(&self, suite: &Suite) -> String {
        let mut text = String::new();
        self.sums(&mut text);
        for (program, (_, title)) in GROUPS.iter().enumerate() {
            self.header(&mut text, title);
            for (fault, row) in suite.faults.iter().zip(&self.cells) {
                if fault.program == program {
                    let signs: Vec<_> = row.iter().map(|outcome| sign(*outcome)).collect();
                    let _ = writeln!(text, "| {} | {} |", fault.words, signs.join(" | "));
                }
            }
        }
        text
    }

    fn header(&self, text: &mut String, first: &str) {
        let _ = writeln!(text, "\n| {first} | {} |", self.names.join(" | "));
        let _ = writeln!(text, "|---|{}", ":-:|".repeat(self.names.len()));
    }

    fn sums(&self, text: &mut String) {
        self.header(text, "of 100 faults");
        let mut line = |words: &str, counts: &dyn Fn(Outcome) -> bool| {
            let shares = (0..self.names.len()).map(|column| {
                let all = self.cells.iter().map(|row| row[column]).filter(|end| *end != Outcome::Skipped);
                let (hits, total) =
                    all.fold((0, 0), |(hits, total), end| (hits + usize::from(counts(end)), total + 1));
                format!("{:.0}", 100.0 * hits as f64 / f64::from(total.max(1)))
            });
            let shares: Vec<_> = shares.collect();
            let _ = writeln!(text, "| {words} | {} |", shares.join(" | "));
        };
        line("kept from harm", &Outcome::is_good);
        line("… by a message", &|end| end == Outcome::Reported);
        line("… by a signal", &|end| end == Outcome::Stopped);
        line("… having no effect", &|end| end == Outcome::Harmless);
        line("missed", &|end| end == Outcome::Missed);
    }
}

/// A table's cell.
fn sign(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Reported => "**R**",
        Outcome::Stopped => "s",
        Outcome::Harmless => "h",
        Outcome::Missed => "–",
        Outcome::Skipped => "",
    }
}

/// The document with the part between the two marks replaced.
///
/// # Errors
/// A sentence, when the marks are not there.
///
/// ```
/// use freestone_misuse::matrix::replaced;
/// assert!(replaced("no marks", "table").unwrap_err().contains("misuse matrix"));
/// ```
pub fn replaced(document: &str, tables: &str) -> Result<String, String> {
    let marks = document.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = marks.ok_or_else(|| format!("the lines\n{BEGIN}\n{END}\nare not there"))?;
    Ok(format!("{before}{BEGIN}\n{tables}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_part_between_the_marks_changes() {
        let document = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = replaced(&document, "new").expect("the marks are there");
        assert_eq!(new, format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
        assert_eq!(replaced(&new, "new"), Ok(new.clone()));
    }

    #[test]
    fn sums_leave_out_what_cannot_be_committed() {
        let matrix = Matrix {
            names: vec!["x".into()],
            cells: vec![vec![Outcome::Reported], vec![Outcome::Missed], vec![Outcome::Skipped]],
        };
        let mut text = String::new();
        matrix.sums(&mut text);
        assert!(text.contains("| kept from harm | 50 |"), "{text}");
    }
}

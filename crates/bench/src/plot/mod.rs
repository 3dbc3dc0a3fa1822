//! Charts of results, as SVG.

mod curves;
mod dots;
mod scale;
mod scatter;
mod svg;

use crate::result::score::{Metric, Scores};
use crate::result::{Results, growth, latency, memory};

/// A finished chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// The file's name, without a folder.
    pub file: String,
    /// The SVG.
    pub text: String,
}

/// Every chart that the results have figures for.
pub fn charts(results: &Results) -> Vec<Chart> {
    let mut charts = Vec::new();
    let mut add = |file: String, text: Option<String>| charts.extend(text.map(|text| Chart { file, text }));
    for interface in results.interfaces() {
        let letter = interface.to_string().to_lowercase();
        let time = Scores::new(results, interface, Metric::Time);
        let peak = Scores::new(results, interface, Metric::Peak);
        add(format!("time-{letter}.svg"), dots::chart(&time));
        add(format!("memory-{letter}.svg"), dots::chart(&peak));
        add(format!("both-{letter}.svg"), scatter::chart(&time, &peak));
    }
    for row in &results.rows {
        let letter = row.interface.to_string().to_lowercase();
        if memory::is_about(row) {
            add(format!("{}-{letter}.svg", row.name), curves::course(results, row));
        }
        for kind in latency::kinds(row) {
            add(format!("latency-{}-{kind}-{letter}.svg", row.name), curves::latency(results, row, &kind));
        }
    }
    for one in growth::curves(results) {
        let letter = one.interface.to_string().to_lowercase();
        add(format!("{}-{letter}.svg", one.name), curves::growth(&one));
    }
    charts
}

#[cfg(test)]
mod tests {
    use freestone_bench::Histogram;

    use super::*;
    use crate::result::{Latency, example};

    fn check(charts: &[Chart], wanted: &[&str]) {
        let files: Vec<&str> = charts.iter().map(|chart| chart.file.as_str()).collect();
        assert_eq!(files, wanted);
        for chart in charts {
            let text = &chart.text;
            assert!(text.starts_with("<svg ") && text.trim_end().ends_with("</svg>"), "{}", chart.file);
            assert!(!text.contains("NaN") && !text.contains("inf"), "{}: {text}", chart.file);
            assert_eq!(text.matches("<g").count(), text.matches("</g>").count(), "{}", chart.file);
            assert!(text.contains("freestone") && text.contains("prefers-color-scheme"), "{}", chart.file);
        }
    }

    #[test]
    fn a_run_has_three_charts() {
        check(&charts(&example(5, 3)), &["time-c.svg", "memory-c.svg", "both-c.svg"]);
    }

    #[test]
    fn latencies_and_growth_have_their_curves() {
        let mut results = example(1, 1);
        for cell in results.rows[0].cells.values_mut() {
            let histogram = Histogram::from_counts((0..200).map(|bucket| 400 - 2 * bucket), 4000);
            cell.samples.clear();
            cell.latency.insert("free".into(), vec![Latency::of(&histogram, 20.0)]);
        }
        check(&charts(&results), &["latency-row-0-free-c.svg"]);
        check(&charts(&growth::example()), &["heap-c.svg", "parked-c.svg"]);
    }

    #[test]
    fn memory_has_a_chart_over_time() {
        check(&charts(&memory::example()), &["peak-and-fall-c.svg", "long-churn-c.svg"]);
    }

    #[test]
    fn nothing_measured_is_no_chart() {
        assert!(charts(&example(0, 3)).is_empty());
    }
}

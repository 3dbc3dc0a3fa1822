//! Medians of interleaved runs, and whether a difference is more than noise.
//!
//! Two allocators are compared round by round, so that what slows the machine for a while slows both: the ratio of a round is
//! one observation. The median of the ratios is bounded by two of them, as many from the end as the binomial
//! distribution allows at 95 per cent (W. J. Conover, *Practical Nonparametric Statistics*, 1999, 3.2): nothing is assumed
//! of how times are distributed. A difference is told only where those bounds exclude that there is none.

use serde::Serialize;

/// A difference that is smaller is of no interest, however sure.
const NEGLIGIBLE: f64 = 0.01;

/// The median of some figures; 0 of none.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        len if len % 2 == 1 => sorted[len / 2],
        len => (sorted[len / 2 - 1] + sorted[len / 2]) / 2.0,
    }
}

/// The least and the most.
pub fn range(figures: &[f64]) -> (f64, f64) {
    let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let most = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if figures.is_empty() { (0.0, 0.0) } else { (least, most) }
}

/// How one compares to another, which is 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// The median.
    pub median: f64,
    /// Between these it lies, at 95 per cent where there are rounds enough for it.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// Rounds.
    pub rounds: usize,
}

/// What a ratio says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Less,
    More,
    /// No difference that so many runs can show.
    Noise,
    /// Too few rounds to say anything.
    TooFew,
}

impl Ratio {
    /// Of two rows of figures, round by round.
    pub fn of(figures: &[f64], base: &[f64]) -> Ratio {
        let mut ratios: Vec<f64> = figures
            .iter()
            .zip(base)
            .filter(|(_, base)| **base > 0.0)
            .map(|(figure, base)| figure / base)
            .collect();
        ratios.sort_by(f64::total_cmp);
        let rounds = ratios.len();
        let out = left_out(rounds);
        let at = |place: usize| ratios.get(place).copied().unwrap_or(1.0);
        Ratio { median: median(&ratios), low: at(out), high: at(rounds.saturating_sub(1 + out)), rounds }
    }

    /// What it says.
    pub fn verdict(&self) -> Verdict {
        let matters = (self.median - 1.0).abs() >= NEGLIGIBLE;
        match self.rounds {
            0..5 => Verdict::TooFew,
            _ if matters && self.high < 1.0 => Verdict::Less,
            _ if matters && self.low > 1.0 => Verdict::More,
            _ => Verdict::Noise,
        }
    }
}

/// How many ordered observations may be left out at each end so that the median lies between the rest with 95 per cent (from five
/// rounds on with at least 93.75, all of them taken).
fn left_out(rounds: usize) -> usize {
    let (mut below, mut term, mut out) = (0.0, 0.5f64.powi(rounds as i32), 0);
    for place in 0..rounds / 2 {
        below += term;
        if 2.0 * below > 0.05 {
            break;
        }
        out = place;
        term *= (rounds - place) as f64 / (place + 1) as f64;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ranges() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
        assert_eq!(range(&[3.0, 1.0, 2.0]), (1.0, 3.0));
    }

    #[test]
    fn bounds_are_those_of_the_tables() {
        // Conover's table: of 6 the first, of 9 the second, of 20 the sixth, counted from either end.
        for (rounds, out) in [(5, 0), (6, 0), (8, 0), (9, 1), (12, 2), (20, 5)] {
            assert_eq!(left_out(rounds), out, "{rounds}");
        }
    }

    #[test]
    fn noise_is_called_noise() {
        let base = [10.0, 11.0, 10.5, 10.2, 10.8, 10.1, 10.4];
        let shifted = |by: [f64; 7]| -> Vec<f64> { base.iter().zip(by).map(|(a, b)| a * b).collect() };
        let same = Ratio::of(&shifted([1.02, 0.99, 1.01, 0.97, 1.03, 1.0, 0.98]), &base);
        assert_eq!(same.verdict(), Verdict::Noise);
        let faster = Ratio::of(&shifted([0.8, 0.82, 0.79, 0.85, 0.8, 0.81, 0.9]), &base);
        assert_eq!(faster.verdict(), Verdict::Less);
        assert!((faster.median - 0.81).abs() < 1e-9);
        let slower = Ratio::of(&shifted([1.2; 7]), &base);
        assert_eq!(slower.verdict(), Verdict::More);
        assert_eq!(Ratio::of(&shifted([1.005; 7]), &base).verdict(), Verdict::Noise);
        assert_eq!(Ratio::of(&[1.0, 2.0], &[2.0, 4.0]).verdict(), Verdict::TooFew);
    }
}

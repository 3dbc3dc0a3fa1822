//! Medians, their uncertainty, and means of ratios.

/// A normal distribution's standard deviation in terms of its median absolute deviation.
const MAD_TO_SIGMA: f64 = 1.4826;

/// How much wider the median of normal values scatters than their mean.
const MEDIAN_TO_MEAN: f64 = 1.2533;

/// The middle value; of an even number, the mean of the two in the middle. Nothing for no values.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[n / 2]),
        n => Some((sorted[n / 2 - 1] + sorted[n / 2]) / 2.0),
    }
}

/// The median of the distances from the median.
pub fn median_deviation(values: &[f64]) -> Option<f64> {
    let middle = median(values)?;
    let distances: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    median(&distances)
}

/// How far the median of `values` may lie from the true one: one standard error. With fewer than three values it is
/// half the range, since nothing better is known.
pub fn median_error(values: &[f64]) -> f64 {
    if values.len() < 3 {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        return (most - least).max(0.0) / 2.0;
    }
    let deviation = median_deviation(values).unwrap_or(0.0);
    deviation * MAD_TO_SIGMA * MEDIAN_TO_MEAN / (values.len() as f64).sqrt()
}

/// The geometric mean; nothing for no values or values that are not above zero.
pub fn geometric_mean(values: &[f64]) -> Option<f64> {
    let usable = !values.is_empty() && values.iter().all(|value| *value > 0.0 && value.is_finite());
    usable.then(|| (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp())
}

/// The medians of several contestants' values, cleared of what happened to a whole round.
///
/// `columns` holds each contestant's values, one for each round. What the machine does meanwhile (another guest, a lower
/// clock) makes all runs of a round slower. So each value is first divided by its round's geometric mean over all
/// contestants; the medians are then brought back to the common level. The first of each pair is the median, the second its
/// standard error as a part of it.
pub fn level_medians(columns: &[&[f64]]) -> Option<Vec<(f64, f64)>> {
    let rounds = columns.first()?.len();
    if rounds == 0 || columns.iter().any(|column| column.len() != rounds) {
        return None;
    }
    let of_round =
        |round: usize| geometric_mean(&columns.iter().map(|column| column[round]).collect::<Vec<_>>());
    let speeds: Vec<f64> = (0..rounds).map(of_round).collect::<Option<_>>()?;
    let level = median(&speeds)?;
    let medians = columns.iter().map(|column| {
        let leveled: Vec<f64> = column.iter().zip(&speeds).map(|(value, speed)| value / speed).collect();
        let middle = median(&leveled).unwrap_or(f64::NAN);
        (middle * level, median_error(&leveled) / middle)
    });
    Some(medians.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_deviations() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median_deviation(&[1.0, 2.0, 4.0, 100.0, 3.0]), Some(1.0));
        assert_eq!(median_error(&[5.0]), 0.0);
        assert_eq!(median_error(&[5.0, 6.0]), 0.5);
        assert!(median_error(&[1.0, 2.0, 3.0, 4.0, 5.0]) > 0.5);
    }

    #[test]
    fn geometric_means() {
        assert_eq!(geometric_mean(&[2.0, 8.0]).map(f64::round), Some(4.0));
        assert_eq!(geometric_mean(&[]), None);
        assert_eq!(geometric_mean(&[1.0, 0.0]), None);
    }

    #[test]
    fn a_slow_round_does_not_matter() {
        // Twice as slow in the second round, under both: the ratio stays exactly 1.5, and so does its certainty.
        let (one, other) = ([1.0, 2.0, 1.0, 4.0], [1.5, 3.0, 1.5, 6.0]);
        let medians = level_medians(&[&one, &other]).unwrap();
        assert!((medians[1].0 / medians[0].0 - 1.5).abs() < 1e-12, "{medians:?}");
        assert!(medians.iter().all(|(_, error)| *error < 1e-9), "{medians:?}");
    }

    #[test]
    fn columns_of_different_length_cannot_be_leveled() {
        assert_eq!(level_medians(&[&[1.0, 2.0], &[1.0]]), None);
        assert_eq!(level_medians(&[]), None);
        assert_eq!(level_medians(&[&[]]), None);
    }
}

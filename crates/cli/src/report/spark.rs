//! A row of figures as a small picture: one character each, its height in proportion to the highest.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The picture of `values` in `columns` characters at most. Where there are more values, each character shows the highest
/// of its part.
pub fn spark(values: &[u64], columns: usize) -> String {
    let highest = values.iter().copied().max().unwrap_or(0).max(1);
    let columns = columns.min(values.len());
    (0..columns)
        .map(|column| {
            let part = column * values.len() / columns..(column + 1) * values.len() / columns;
            let value = values[part].iter().copied().max().unwrap_or(0);
            let step = (u128::from(value) * BLOCKS.len() as u128).div_ceil(u128::from(highest));
            BLOCKS[(step as usize).clamp(1, BLOCKS.len()) - 1]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_are_in_proportion_and_peaks_survive() {
        assert_eq!(spark(&[0, 1, 2, 4, 8], 10), "▁▁▂▄█");
        assert_eq!(spark(&[], 10), "");
        assert_eq!(spark(&[0, 0], 10), "▁▁");
        let mut values = vec![1; 1000];
        values[501] = 1_000_000;
        let picture = spark(&values, 20);
        assert_eq!(picture.chars().count(), 20);
        assert_eq!(picture.chars().filter(|&c| c == '█').count(), 1);
        assert_eq!(spark(&[u64::MAX, 1], 2), "█▁");
    }
}

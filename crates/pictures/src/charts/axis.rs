//! Where an axis has its marks, and what they are called.

use std::time::Duration;

use crate::quantity::{bytes, count, rough, time};

/// What an axis counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Anything else that is counted.
    Count,
    /// Nanoseconds.
    Time,
    /// Calls so far, for want of a time.
    Calls,
    /// Thousandths.
    PerMille,
}

impl Unit {
    /// A value as it is shown.
    ///
    /// ```
    /// use freestone_pictures::charts::axis::Unit;
    /// assert_eq!(Unit::Bytes.show(1 << 20), "1.0 MiB");
    /// assert_eq!(Unit::Time.show(1_500_000_000), "1.50 s");
    /// assert_eq!(Unit::PerMille.show(125), "12.5 %");
    /// ```
    pub fn show(self, value: u64) -> String {
        match self {
            Unit::Bytes => bytes(value),
            Unit::Count => count(value),
            Unit::Time => time(Duration::from_nanos(value)),
            Unit::Calls => format!("call {}", count(value)),
            Unit::PerMille => format!("{:.1} %", value as f64 / 10.0),
        }
    }

    /// A mark's name, shorter.
    fn mark(self, value: u64) -> String {
        match self {
            Unit::Bytes if value == 0 => "0".into(),
            Unit::Bytes => bytes(value).replace(".0 ", " "),
            Unit::Time if value == 0 => "0".into(),
            Unit::Time => short_time(value),
            Unit::Count | Unit::Calls => rough(value as f64),
            Unit::PerMille => format!("{} %", value / 10),
        }
    }
}

fn short_time(nanos: u64) -> String {
    let (unit, name) = match nanos {
        n if n < 1_000 => (1_u64, "ns"),
        n if n < 1_000_000 => (1_000, "µs"),
        n if n < 1_000_000_000 => (1_000_000, "ms"),
        n if n < 600_000_000_000 => (1_000_000_000, "s"),
        n if n < 36_000_000_000_000 => (60_000_000_000, "min"),
        _ => (3_600_000_000_000, "h"),
    };
    let text = format!("{:.2}", nanos as f64 / unit as f64);
    format!("{} {name}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A mark: the value, and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Where on the axis.
    pub value: u64,
    /// What is written there.
    pub name: String,
}

/// Marks from zero to `top` at round distances, about `wanted` of them.
///
/// ```
/// use freestone_pictures::charts::axis::{Unit, marks};
/// let names: Vec<String> = marks(10 << 20, 4, Unit::Bytes).into_iter().map(|mark| mark.name).collect();
/// assert_eq!(names, ["0", "4 MiB", "8 MiB"]);
/// ```
pub fn marks(top: u64, wanted: u64, unit: Unit) -> Vec<Mark> {
    let least = top / wanted.max(1) + 1;
    let step = match unit {
        Unit::Bytes => least.checked_next_power_of_two().unwrap_or(1 << 63),
        _ => round_up(least),
    };
    let values = std::iter::successors(Some(0_u64), |value| value.checked_add(step));
    values.take_while(|&value| value <= top).map(|value| Mark { value, name: unit.mark(value) }).collect()
}

/// The next number of the form 1, 2 or 5 times a power of ten.
fn round_up(least: u64) -> u64 {
    let power = 10_u64.pow(least.max(1).ilog10());
    [1, 2, 5, 10]
        .into_iter()
        .map(|times| power.saturating_mul(times))
        .find(|&n| n >= least)
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_few_and_round_at_any_scale() {
        for top in [0, 1, 7, 99, 4096, 123_456_789, u64::MAX / 2, u64::MAX] {
            for unit in [Unit::Bytes, Unit::Count, Unit::Time] {
                let marks = marks(top, 5, unit);
                assert!((1..=7).contains(&marks.len()), "{top} {unit:?}: {marks:?}");
                assert!(marks.iter().all(|mark| mark.value <= top));
            }
        }
        assert_eq!(short_time(1_250_000_000), "1.25 s");
        assert_eq!(short_time(300_000_000), "300 ms");
        assert_eq!(round_up(1), 1);
        assert_eq!(round_up(21), 50);
    }
}

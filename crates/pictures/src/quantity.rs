//! How quantities are written: `1,234`, `12.5 %`, `3.21 s`, `1.5 million`.

use std::time::Duration;

use freestone_base::Bytes;

/// Bytes with a binary unit.
pub fn bytes(count: u64) -> String {
    Bytes(count as usize).to_string()
}

/// A whole number with a comma between the thousands.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 block`, `2 blocks`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A number in words of magnitude, for rates: `950`, `12 thousand`, `1.5 million`.
pub fn rough(number: f64) -> String {
    let (value, unit) = match number {
        n if n >= 1e9 => (n / 1e9, " thousand million"),
        n if n >= 1e6 => (n / 1e6, " million"),
        n if n >= 1e4 => (n / 1e3, " thousand"),
        n => return count(n.round() as u64),
    };
    if value < 10.0 { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") }
}

/// A share of a whole in percent; `None` when there is no whole.
pub fn percent(part: u64, whole: u64) -> Option<String> {
    if whole == 0 {
        return None;
    }
    let share = part as f64 * 100.0 / whole as f64;
    Some(match share {
        0.0 => "0 %".into(),
        s if s < 0.1 => "under 0.1 %".into(),
        s => format!("{s:.1} %"),
    })
}

/// A time with the unit that leaves at most three digits before the point.
pub fn time(span: Duration) -> String {
    let nanos = span.as_nanos() as f64;
    match nanos {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.1} µs", n / 1e3),
        n if n < 1e9 => format!("{:.1} ms", n / 1e6),
        n if n < 600e9 => format!("{:.2} s", n / 1e9),
        n => format!("{} s", count((n / 1e9).round() as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "block", "blocks"), "1 block");
        assert_eq!(rough(950.0), "950");
        assert_eq!(rough(12_300.0), "12 thousand");
        assert_eq!(rough(1_540_000.0), "1.5 million");
        assert_eq!(percent(1, 8).unwrap(), "12.5 %");
        assert_eq!(percent(1, 100_000).unwrap(), "under 0.1 %");
        assert_eq!(percent(0, 5).unwrap(), "0 %");
        assert_eq!(percent(1, 0), None);
        assert_eq!(time(Duration::from_nanos(250)), "250 ns");
        assert_eq!(time(Duration::from_micros(1_500)), "1.5 ms");
        assert_eq!(time(Duration::from_millis(3_214)), "3.21 s");
        assert_eq!(time(Duration::from_secs(7_200)), "7,200 s");
    }
}

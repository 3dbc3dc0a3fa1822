//! From values to pixels, and where an axis has its marks.

/// A linear or logarithmic axis over some pixels.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    from: f64,
    to: f64,
}

impl Axis {
    /// Values from `low` to `high`, evenly, over the pixels from `from` to `to`.
    pub fn linear(low: f64, high: f64, from: f64, to: f64) -> Axis {
        Axis { low, high: high.max(low + 1e-9), logarithmic: false, from, to }
    }

    /// Values from `low`, above zero, to `high`; factors evenly.
    pub fn logarithmic(low: f64, high: f64, from: f64, to: f64) -> Axis {
        Axis { low, high: high.max(low * 1.000_001), logarithmic: true, from, to }
    }

    /// The pixel of `value`.
    pub fn at(&self, value: f64) -> f64 {
        let part = match self.logarithmic {
            true => (value / self.low).ln() / (self.high / self.low).ln(),
            false => (value - self.low) / (self.high - self.low),
        };
        self.from + part.clamp(-0.05, 1.05) * (self.to - self.from)
    }

    /// Round values on the axis, few enough that their labels do not touch.
    pub fn marks(&self, most: usize) -> Vec<f64> {
        if self.logarithmic {
            let steps: [&[f64]; 6] = [
                &[1.0, 1.1, 1.2, 1.3, 1.5, 1.7, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
                &[1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 9.0],
                &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
                &[1.0, 2.0, 5.0],
                &[1.0, 3.0],
                &[1.0],
            ];
            let all = steps.iter().map(|steps| self.logarithmic_marks(steps));
            let mut fitting = all.filter(|marks| marks.len() <= most.max(2));
            return fitting.next().unwrap_or_else(|| vec![self.low, self.high]);
        }
        let rough = (self.high - self.low) / most.max(1) as f64;
        let unit = 10f64.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|factor| factor * unit).find(|step| *step >= rough);
        let step = step.unwrap_or(unit * 10.0);
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).map(|number| number as f64 * step).collect()
    }

    fn logarithmic_marks(&self, steps: &[f64]) -> Vec<f64> {
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let values = decades.flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
        values.filter(|value| *value >= self.low * 0.999 && *value <= self.high * 1.001).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_met() {
        let axis = Axis::logarithmic(1.0, 100.0, 0.0, 200.0);
        assert_eq!([axis.at(1.0), axis.at(10.0), axis.at(100.0)], [0.0, 100.0, 200.0]);
        let axis = Axis::linear(0.0, 4.0, 100.0, 0.0);
        assert_eq!([axis.at(0.0), axis.at(1.0), axis.at(4.0)], [100.0, 75.0, 0.0]);
    }

    #[test]
    fn marks_are_round_and_few() {
        assert_eq!(Axis::linear(0.0, 10.0, 0.0, 1.0).marks(5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(Axis::logarithmic(1e6, 1e10, 0.0, 1.0).marks(6).len(), 5);
        assert_eq!(Axis::logarithmic(1.0, 4.0, 0.0, 1.0).marks(5), [1.0, 1.5, 2.0, 3.0]);
    }

    #[test]
    fn an_empty_range_breaks_nothing() {
        assert!(Axis::linear(1.0, 1.0, 0.0, 9.0).at(1.0).is_finite());
        assert!(Axis::logarithmic(2.0, 2.0, 0.0, 9.0).at(2.0).is_finite());
        assert!(!Axis::logarithmic(2.0, 2.0, 0.0, 9.0).marks(4).is_empty());
    }
}

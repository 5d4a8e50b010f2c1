//! Several runs in one number, and how far apart they were.

/// The middle of several numbers, and the outermost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one number; of none all is nothing.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        let [Some(min), Some(max)] = [numbers.first(), numbers.last()].map(Option::<&f64>::copied)
        else {
            return Self { median: 0.0, min: 0.0, max: 0.0 };
        };
        let middle = numbers.len() / 2;
        let median = match numbers.len() % 2 {
            1 => numbers[middle],
            _ => f64::midpoint(numbers[middle - 1], numbers[middle]),
        };
        Self { median, min, max }
    }
}

/// How many times `theirs` goes into `ours`, if it does.
pub(crate) fn ratio(ours: f64, theirs: f64) -> Option<f64> {
    (theirs > 0.0).then(|| ours / theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_there() {
        let of = |numbers: &[f64]| Spread::of(numbers.iter().copied());
        assert_eq!(of(&[3.0, 1.0, 9.0]), Spread { median: 3.0, min: 1.0, max: 9.0 });
        assert_eq!(of(&[4.0, 1.0, 2.0, 9.0]), Spread { median: 3.0, min: 1.0, max: 9.0 });
        assert_eq!(of(&[5.0]), Spread { median: 5.0, min: 5.0, max: 5.0 });
        assert_eq!(of(&[]), Spread { median: 0.0, min: 0.0, max: 0.0 });
    }

    #[test]
    fn nothing_goes_into_nothing() {
        assert_eq!(ratio(6.0, 4.0), Some(1.5));
        assert_eq!(ratio(6.0, 0.0), None);
    }
}

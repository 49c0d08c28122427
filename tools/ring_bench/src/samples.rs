// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What is made of many measurements of the same.

/// What disturbs a measurement only ever makes it longer, so the shortest ones tell most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    /// The least.
    pub(crate) minimum: f64,
    /// The 10th percentile: what a tenth of them do not exceed.
    pub(crate) percentile10: f64,
}

impl Summary {
    /// Of at least one measurement.
    pub(crate) fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let tenth = sorted.len().div_ceil(10) - 1;
        Self {
            minimum: sorted[0],
            percentile10: sorted[tenth],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_not_above_the_10th_percentile() {
        let shuffled: Vec<f64> = (0..100).map(|n| f64::from(n * 37 % 100 + 1)).collect();
        let summary = Summary::of(&shuffled);
        assert_eq!((summary.minimum, summary.percentile10), (1.0, 10.0));
    }

    #[test]
    fn few_samples_will_do() {
        let one = Summary::of(&[3.0]);
        assert_eq!((one.minimum, one.percentile10), (3.0, 3.0));
        let eleven: Vec<f64> = (0..11).map(f64::from).collect();
        assert_eq!(Summary::of(&eleven).percentile10, 1.0);
    }
}

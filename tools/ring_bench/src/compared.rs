// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Times of our ring and of the kernel's, measured by turns, so that what disturbs one disturbs the
//! other: within a load, and every load again and again.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::case::{Load, Whose};
use crate::samples::Summary;

/// How often every load is measured.
const ROUNDS: usize = 10;

/// How long a load is measured at most, each time. On a quiet machine, none takes a tenth of it.
const LIMIT: Duration = Duration::from_millis(500);

/// One thing for each ring.
#[derive(Default)]
pub(crate) struct PerRing<T> {
    ours: T,
    kernels: T,
}

/// Measurements of each.
pub(crate) type Samples = PerRing<Vec<f64>>;

/// What is made of them.
pub(crate) type Compared = PerRing<Summary>;

impl<T> PerRing<T> {
    /// What `of` gives for each.
    pub(crate) fn new(of: impl Fn(Whose) -> T) -> Self {
        Self {
            ours: of(Whose::Ours),
            kernels: of(Whose::Kernels),
        }
    }

    /// That of one.
    pub(crate) fn of(&self, whose: Whose) -> &T {
        match whose {
            Whose::Ours => &self.ours,
            Whose::Kernels => &self.kernels,
        }
    }

    /// That of one.
    pub(crate) fn of_mut(&mut self, whose: Whose) -> &mut T {
        match whose {
            Whose::Ours => &mut self.ours,
            Whose::Kernels => &mut self.kernels,
        }
    }
}

impl<A, B> PerRing<(A, B)> {
    /// The first ones, and the second ones.
    pub(crate) fn unzip(self) -> (PerRing<A>, PerRing<B>) {
        let ((ours, a), (kernels, b)) = (self.ours, self.kernels);
        let first = PerRing { ours, kernels };
        let (ours, kernels) = (a, b);
        (first, PerRing { ours, kernels })
    }
}

impl Samples {
    /// Adds measurements of each, as many as there is time for, at least one and at most `most`.
    pub(crate) fn take<T>(
        &mut self,
        most: usize,
        of: &mut PerRing<T>,
        measure: impl Fn(&mut T) -> f64,
    ) {
        let start = Instant::now();
        for number in 0..most {
            if number > 0 && start.elapsed() > LIMIT {
                return;
            }
            self.ours.push(measure(&mut of.ours));
            self.kernels.push(measure(&mut of.kernels));
        }
    }
}

impl Compared {
    /// The kernel's over ours: above 1, ours takes less.
    pub(crate) fn ratio(&self) -> Summary {
        Summary {
            minimum: self.kernels.minimum / self.ours.minimum,
            percentile10: self.kernels.percentile10 / self.ours.percentile10,
        }
    }
}

/// Every load, with what `measure` has added to its samples in all rounds.
///
/// # Errors
///
/// Those of `measure`.
pub(crate) fn in_rounds(
    measure: impl Fn(Load, &mut Samples) -> Result<()>,
) -> Result<Vec<(Load, Compared)>> {
    let mut loads: Vec<(Load, Samples)> =
        Load::all().map(|load| (load, Samples::default())).collect();
    for _ in 0..ROUNDS {
        for (load, samples) in &mut loads {
            measure(*load, samples)?;
        }
    }
    let compare = |(load, samples): (Load, Samples)| {
        let of = |whose| Summary::of(samples.of(whose));
        (load, Compared::new(of))
    };
    Ok(loads.into_iter().map(compare).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_faster_ring_of_ours_has_a_ratio_above_1() {
        let cost = |whose| match whose {
            Whose::Ours => 2.0,
            Whose::Kernels => 3.0,
        };
        let loads = in_rounds(|_, samples| {
            samples.take(2, &mut PerRing::new(cost), |cost| {
                *cost += 1.0;
                *cost
            });
            Ok(())
        })
        .unwrap();
        assert!(loads.iter().map(|(load, _)| *load).eq(Load::all()));
        let (_, compared) = &loads[0];
        assert_eq!(compared.of(Whose::Ours).minimum, 3.0);
        assert_eq!(compared.ratio().minimum, 4.0 / 3.0);
    }
}

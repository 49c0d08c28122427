// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Many equal batches, and the typical one.
//!
//! A batch in which the timer ticked costs some thousand instructions more. The median of the
//! batches leaves those out, which a mean would not; two runs give the same either way.

/// Accesses, or calls, in a batch.
pub(crate) const BATCH: u32 = 48;
/// Batches that count. One more comes first, to warm up.
pub(crate) const BATCHES: u32 = 42;

/// Accesses of all batches, with the first.
pub(crate) const ALL: u32 = BATCH * (BATCHES + 1);

/// The readings of the clock between batches, and the counts over all of them.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    /// Before the first batch, between each two, after the last.
    pub(crate) stamps: Vec<u64>,
    /// Context switches of all processes in all batches.
    pub(crate) switches: u64,
    /// Returns of `KVM_RUN` in all batches.
    pub(crate) exits: u64,
}

/// What one access costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figures {
    /// Instructions of the guest, the kernel and all processes.
    pub(crate) instructions: f64,
    /// Context switches of all processes.
    pub(crate) switches: f64,
    /// Returns of `KVM_RUN`.
    pub(crate) exits: f64,
}

impl Sample {
    /// What one access costs: what these batches have more than `empty` ones.
    pub(crate) fn beyond(&self, empty: &Self) -> Figures {
        let each =
            |with: u64, without: u64, count: u32| (with as f64 - without as f64) / f64::from(count);
        Figures {
            instructions: each(self.batch(), empty.batch(), BATCH),
            switches: each(self.switches, empty.switches, ALL),
            exits: each(self.exits, empty.exits, ALL),
        }
    }

    /// Instructions of the typical batch.
    fn batch(&self) -> u64 {
        let mut batches: Vec<u64> = self
            .stamps
            .windows(2)
            .skip(1)
            .map(|w| w[1] - w[0])
            .collect();
        batches.sort_unstable();
        batches.get(batches.len() / 2).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(batches: impl IntoIterator<Item = u64>, counts: u64) -> Sample {
        let mut stamps = vec![7];
        for batch in batches {
            stamps.push(stamps[stamps.len() - 1] + batch);
        }
        Sample {
            stamps,
            switches: counts,
            exits: counts,
        }
    }

    #[test]
    fn warm_up_and_interrupted_batches_do_not_count() {
        let full = sample([9_000_000, 1_060, 1_060, 5_060, 1_060, 6_060], 0);
        let empty = sample([0, 100, 100, 100, 100, 100], 0);
        assert_eq!(full.beyond(&empty).instructions, 20.0);
    }

    #[test]
    fn counts_are_per_access() {
        let full = sample([], u64::from(ALL) * 2 + 3);
        let empty = sample([], 3);
        let figures = full.beyond(&empty);
        assert_eq!((figures.switches, figures.exits), (2.0, 2.0));
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What is counted of the accesses to a region.
//!
//! Every access that has ended is in exactly one cell: what the guest did, and how it ended. So it
//! costs one addition, and sums over cells agree with each other. An access that the vCPU had to
//! wait for is in one bucket of a histogram, too.

/// What the guest did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Kind {
    /// A read.
    Read,
    /// A write that the device answers.
    Write,
    /// A write that nobody answers.
    Posted,
}

/// How an access ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum How {
    /// The vCPU did not wait.
    AtOnce,
    /// A rule of the region handled it.
    Ruled,
    /// The answer came while the vCPU spun.
    Spun,
    /// The vCPU slept until the answer came, or until there was room for the access.
    Slept,
    /// The device did not complete it, and will not.
    Failed,
    /// The device did not complete it in time.
    TimedOut,
}

/// All of [`Kind`], in order.
pub const KINDS: [Kind; 3] = [Kind::Read, Kind::Write, Kind::Posted];

/// All of [`How`], in order.
pub const HOWS: [How; 6] = [
    How::AtOnce,
    How::Ruled,
    How::Spun,
    How::Slept,
    How::Failed,
    How::TimedOut,
];

/// How many cells there are.
pub const CELLS: usize = KINDS.len() * HOWS.len();

/// How many buckets the histogram of waits has: the last one has all from 2^31 ns (2.1 s) on.
pub const BUCKETS: usize = 32;

/// The cell of an access.
#[inline]
pub const fn cell(kind: Kind, how: How) -> usize {
    kind as usize * HOWS.len() + how as usize
}

/// The bucket of a wait of so many nanoseconds: bucket `n` has those from 2^n to 2^(n + 1) - 1,
/// bucket 0 also that of 0.
#[inline]
pub const fn bucket(ns: u64) -> usize {
    let log2 = (ns | 1).ilog2() as usize;
    if log2 < BUCKETS {
        log2
    } else {
        BUCKETS - 1
    }
}

/// The counters of a region, as they were read: one after the other, while vCPUs went on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// By [`cell`].
    pub cells: [u64; CELLS],
    /// By [`bucket`].
    pub waits: [u64; BUCKETS],
}

impl Counts {
    /// Accesses of this kind.
    pub fn of_kind(&self, kind: Kind) -> u64 {
        HOWS.iter().map(|&how| self.cells[cell(kind, how)]).sum()
    }

    /// Accesses that ended so.
    pub fn of_how(&self, how: How) -> u64 {
        KINDS.iter().map(|&kind| self.cells[cell(kind, how)]).sum()
    }

    /// Writes, posted or not.
    pub fn writes(&self) -> u64 {
        self.of_kind(Kind::Write) + self.of_kind(Kind::Posted)
    }
}

/// The bucket that the given part of all waits, in percent, does not exceed; `None` if there was
/// no wait.
pub fn percentile(waits: &[u64; BUCKETS], percent: u64) -> Option<usize> {
    let total: u64 = waits.iter().sum();
    let rank = total / 100 * percent + (total % 100 * percent).div_ceil(100);
    let mut seen = 0;
    waits.iter().position(|&count| {
        seen += count;
        seen >= rank.max(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_kind_and_end_has_a_cell_of_its_own() {
        let mut cells: Vec<usize> = KINDS
            .iter()
            .flat_map(|&kind| HOWS.map(|how| cell(kind, how)))
            .collect();
        cells.sort_unstable();
        assert_eq!(cells, (0..CELLS).collect::<Vec<_>>());
    }

    #[test]
    fn a_power_of_two_begins_a_bucket() {
        for (ns, expected) in [
            (0, 0),
            (1, 0),
            (2, 1),
            (3, 1),
            (4, 2),
            (1023, 9),
            (1024, 10),
        ] {
            assert_eq!(bucket(ns), expected, "{ns}");
        }
        for n in 1..BUCKETS {
            assert_eq!((bucket((1 << n) - 1), bucket(1 << n)), (n - 1, n));
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_of_nothing_and_of_one() {
        let mut waits = [0; BUCKETS];
        assert_eq!(percentile(&waits, 50), None);
        waits[7] = 1;
        for percent in [0, 1, 50, 99, 100] {
            assert_eq!(percentile(&waits, percent), Some(7));
        }
    }

    fn any_counts() -> impl Strategy<Value = Counts> {
        let cells = prop::array::uniform18(0..1u64 << 40);
        let waits = prop::array::uniform32(0..1u64 << 40);
        (cells, waits).prop_map(|(cells, waits)| Counts { cells, waits })
    }

    proptest! {
        #[test]
        fn sums_agree(counts in any_counts()) {
            let all: u64 = counts.cells.iter().sum();
            prop_assert_eq!(counts.of_kind(Kind::Read) + counts.writes(), all);
            prop_assert_eq!(HOWS.iter().map(|&how| counts.of_how(how)).sum::<u64>(), all);
        }

        #[test]
        fn percentiles_agree_with_a_sorted_list(
            list in prop::collection::vec(any::<u64>().prop_map(bucket), 1..200),
            percent in 1u64..=100,
        ) {
            let mut waits = [0; BUCKETS];
            list.iter().for_each(|&bucket| waits[bucket] += 1);
            let mut sorted = list;
            sorted.sort_unstable();
            let rank = (sorted.len() as u64 * percent).div_ceil(100) as usize;
            prop_assert_eq!(percentile(&waits, percent), Some(sorted[rank - 1]));
        }

        #[test]
        fn a_longer_wait_is_in_no_lower_bucket(a: u64, b: u64) {
            prop_assert!(bucket(a.min(b)) <= bucket(a.max(b)));
        }
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What has come back of a run.

use serde::{Deserialize, Serialize};

use crate::frame::{Received, Stamp};

/// Shares of the frames, per mille, whose slowest is reported.
const QUANTILES: [u64; 9] = [0, 10, 100, 250, 500, 750, 900, 990, 999];

/// The frames of one run as they come back.
pub struct Tally {
    run: u32,
    /// Nanoseconds of each frame; `None`: it has not come back.
    delays: Vec<Option<u64>>,
    received: u64,
    next: u64,
    duplicates: u64,
    overtaken: u64,
    damaged: u64,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tallied {
    /// Frames that came back whole, each counted once.
    pub received: u64,
    /// Frames that came back once more.
    pub duplicates: u64,
    /// Frames that came back after one that was sent later.
    pub overtaken: u64,
    /// Frames that came back with other bytes.
    pub damaged: u64,
    /// Of these shares of the received frames, per mille, the longest that one took, in nanoseconds.
    pub quantiles: Vec<(u64, u64)>,
    /// The longest that any took.
    pub longest: u64,
}

impl Tally {
    /// A run of so many frames.
    #[must_use]
    pub fn new(run: u32, frames: usize) -> Self {
        Self {
            run,
            delays: vec![None; frames],
            received: 0,
            next: 0,
            duplicates: 0,
            overtaken: 0,
            damaged: 0,
        }
    }

    /// Notes what has come at this time. Frames of other runs are nothing to us.
    pub fn note(&mut self, received: Received, now: u64) {
        match received {
            Received::Whole(stamp) if stamp.run == self.run => self.note_whole(stamp, now),
            Received::Damaged => self.damaged += 1,
            Received::Whole(_) | Received::Foreign => {}
        }
    }

    fn note_whole(&mut self, stamp: Stamp, now: u64) {
        let Some(delay) = self.delays.get_mut(stamp.sequence as usize) else {
            self.damaged += 1;
            return;
        };
        if delay.is_some() {
            self.duplicates += 1;
            return;
        }
        *delay = Some(now.saturating_sub(stamp.sent));
        self.received += 1;
        if stamp.sequence < self.next {
            self.overtaken += 1;
        }
        self.next = self.next.max(stamp.sequence + 1);
    }

    /// How many came back whole.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The sum.
    #[must_use]
    pub fn finish(self) -> Tallied {
        let mut delays: Vec<u64> = self.delays.into_iter().flatten().collect();
        delays.sort_unstable();
        Tallied {
            received: self.received,
            duplicates: self.duplicates,
            overtaken: self.overtaken,
            damaged: self.damaged,
            quantiles: quantiles(&delays),
            longest: delays.last().copied().unwrap_or(0),
        }
    }
}

/// Of sorted values, each of [`QUANTILES`].
fn quantiles(sorted: &[u64]) -> Vec<(u64, u64)> {
    let last = sorted.len().saturating_sub(1) as u64;
    let value = |share: u64| sorted.get((last * share / 1000) as usize);
    QUANTILES
        .iter()
        .filter_map(|&share| Some((share, *value(share)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(run: u32, sequence: u64, sent: u64) -> Received {
        Received::Whole(Stamp {
            run,
            sequence,
            sent,
        })
    }

    #[test]
    fn each_frame_is_counted_once_and_for_its_run_only() {
        let mut tally = Tally::new(7, 3);
        for received in [
            frame(7, 0, 10),
            frame(7, 2, 20),
            frame(7, 2, 20),
            frame(7, 1, 15),
            frame(6, 0, 0),
            frame(7, 3, 0),
            Received::Damaged,
            Received::Foreign,
        ] {
            tally.note(received, 50);
        }
        let sum = tally.finish();
        assert_eq!(
            (sum.received, sum.duplicates, sum.overtaken, sum.damaged),
            (3, 1, 1, 2)
        );
        assert_eq!(sum.longest, 40);
        assert_eq!(sum.quantiles[0], (0, 30));
    }

    #[test]
    fn quantiles_are_of_what_has_come() {
        let mut tally = Tally::new(1, 2000);
        for sequence in 0..1001 {
            tally.note(frame(1, sequence, 0), sequence);
        }
        let sum = tally.finish();
        assert!(sum.quantiles.contains(&(500, 500)));
        assert!(sum.quantiles.contains(&(999, 999)));
        assert_eq!(sum.longest, 1000);
    }

    #[test]
    fn nothing_has_no_quantiles() {
        assert!(Tally::new(1, 5).finish().quantiles.is_empty());
    }
}

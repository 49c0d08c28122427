// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! How long a guest that keeps interrupts off may run directly.

/// Overlong runs at a time that a guest may have without meaning it: the host may have been kept
/// from running it by a host of its own.
const PATIENCE: u64 = 16;
/// Milliseconds after which one of them is forgiven. As a run is ended after 10 of them, a guest can
/// keep the host's interrupts off for a hundredth of the time.
const FORGIVEN_AFTER: u64 = 1000;

/// A guest's overlong runs that are not forgiven yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conduct {
    strikes: u64,
    /// When the last one could have been forgiven, in milliseconds.
    forgiven: u64,
}

impl Conduct {
    /// The conduct that [`Self::bits`] has made this of.
    pub const fn from_bits(bits: u64) -> Self {
        Self {
            strikes: bits & 0xff,
            forgiven: bits >> 8,
        }
    }

    /// All of it, so that it can be read while the guest runs.
    pub const fn bits(self) -> u64 {
        self.strikes | self.forgiven << 8
    }

    /// The watchdog has ended a run in which the guest had its interrupts off; `now` is in
    /// milliseconds and does not go back.
    #[must_use]
    pub const fn struck(self, now: u64) -> Self {
        let forgiven = now.saturating_sub(self.forgiven) / FORGIVEN_AFTER;
        let strikes = self.strikes.saturating_sub(forgiven);
        Self {
            strikes: if strikes < PATIENCE {
                strikes + 1
            } else {
                strikes
            },
            forgiven: self.forgiven + forgiven * FORGIVEN_AFTER,
        }
    }

    /// Whether that was too often.
    pub const fn is_too_bad(self) -> bool {
        self.strikes >= PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of the strike that is one too many, of those that are so far apart.
    fn last_of(apart: u64) -> Option<u64> {
        let mut conduct = Conduct::default();
        (1..100_000).find(|number| {
            conduct = Conduct::from_bits(conduct.struck(number * apart).bits());
            conduct.is_too_bad()
        })
    }

    #[test]
    fn again_and_again_is_too_often() {
        assert_eq!(last_of(10), Some(PATIENCE));
    }

    #[test]
    fn twice_as_often_as_is_forgiven_is_too_often() {
        assert_eq!(last_of(500), Some(2 * PATIENCE - 1));
    }

    #[test]
    fn now_and_then_is_forgiven() {
        assert_eq!(last_of(FORGIVEN_AFTER), None);
    }
}

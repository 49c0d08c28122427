// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! How long a vCPU spins for an answer before it sleeps.
//!
//! As KVM's halt polling: longer after an answer that came in time, not at all after one that
//! did not, up to a limit. A device that answers within the limit is soon spun for, and one that
//! does not costs a little now and then.

/// The longest spin, in nanoseconds.
const LONGEST: u64 = 50_000;
/// The first one.
const FIRST: u64 = 5_000;
/// One in so many sleeps is preceded by another first spin.
const RETRY: u32 = 16;

/// The spinning of one vCPU.
#[derive(Clone, Copy, Debug)]
pub struct Spin {
    ns: u64,
    sleeps: u32,
}

impl Default for Spin {
    fn default() -> Self {
        Self {
            ns: FIRST,
            sleeps: 0,
        }
    }
}

impl Spin {
    /// How long to spin now, in nanoseconds; 0 for not at all.
    #[inline]
    pub fn ns(&self) -> u64 {
        self.ns
    }

    /// The answer came while the vCPU spun.
    pub fn was_answered(&mut self) {
        self.ns = u64::min(self.ns * 2, LONGEST);
    }

    /// No answer came.
    pub fn was_in_vain(&mut self) {
        self.ns = 0;
    }

    /// The vCPU goes to sleep.
    #[inline]
    pub fn had_to_sleep(&mut self) {
        self.sleeps = self.sleeps.wrapping_add(1);
        self.ns = match self.sleeps % RETRY {
            0 => FIRST,
            _ => 0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_limit_and_stops_at_the_first_failure() {
        let mut spin = Spin::default();
        for _ in 0..20 {
            spin.was_answered();
        }
        assert_eq!(spin.ns(), LONGEST);
        spin.was_in_vain();
        assert_eq!(spin.ns(), 0);
    }

    #[test]
    fn tries_again_now_and_then() {
        let mut spin = Spin::default();
        let tries = (0..10 * RETRY)
            .filter(|_| {
                spin.had_to_sleep();
                spin.ns() > 0
            })
            .count();
        assert_eq!(tries, 10);
    }
}

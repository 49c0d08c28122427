// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! How long to look for the next access before going to sleep.
//!
//! Looking costs this CPU; sleeping costs the vCPU a wake-up. So the time grows when an access
//! came soon after the device had gone to sleep, and shrinks when it did not.

use std::hint::spin_loop;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

/// The shortest time that is worth looking.
const MIN: Duration = Duration::from_micros(5);
/// The longest.
const MAX: Duration = Duration::from_micros(80);

/// The time, and what it depends on.
#[derive(Debug)]
pub(crate) struct Patience {
    /// With a single CPU, looking keeps the vCPU from running.
    has_other_cpu: bool,
    time: Duration,
    idle_since: Option<Instant>,
}

impl Patience {
    /// None at first.
    pub(crate) fn new() -> Self {
        Self {
            has_other_cpu: available_parallelism().is_ok_and(|cpus| cpus.get() > 1),
            time: Duration::ZERO,
            idle_since: None,
        }
    }

    /// Whether [`look`](Self::look) would look more than once.
    #[inline]
    pub(crate) fn is_left(&self) -> bool {
        !self.time.is_zero()
    }

    /// Looks for an access until there is one, or patience is at its end.
    #[inline]
    pub(crate) fn look(&mut self, is_ready: impl Fn() -> bool) -> bool {
        if !self.has_other_cpu {
            return false;
        }
        let start = Instant::now();
        self.idle_since = Some(start);
        while start.elapsed() < self.time {
            if is_ready() {
                return true;
            }
            spin_loop();
        }
        false
    }

    /// An access ended the sleep that followed the last [`look`](Self::look).
    #[inline]
    pub(crate) fn was_woken(&mut self) {
        if let Some(start) = self.idle_since.take() {
            self.adapt(start.elapsed());
        }
    }

    fn adapt(&mut self, idle: Duration) {
        self.time = match idle <= MAX {
            true => (self.time * 2).clamp(MIN, MAX),
            false if self.time > MIN => self.time / 2,
            false => Duration::ZERO,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_with_short_sleeps_and_shrinks_with_long_ones() {
        let mut patience = Patience::new();
        let mut times = Vec::new();
        for idle in [MAX, MAX, MAX, MAX, MAX, MAX, MAX * 2, MAX * 2] {
            patience.adapt(idle);
            times.push(patience.time.as_micros());
        }
        assert_eq!(times, [5, 10, 20, 40, 80, 80, 40, 20]);
        for _ in 0..3 {
            patience.adapt(Duration::MAX);
        }
        assert!(!patience.is_left());
    }

    #[test]
    fn a_single_cpu_has_none() {
        let mut patience = Patience {
            has_other_cpu: false,
            time: Duration::MAX,
            idle_since: None,
        };
        assert!(!patience.look(|| panic!("it looked")));
    }
}

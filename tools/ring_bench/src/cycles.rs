// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Cycles of the driver, on one core: driver and device by turns, and our ring and the kernel's.

use std::arch::x86_64::{_mm_lfence, _rdtsc};

use crate::case::{Case, Load};
use crate::compared::{PerRing, Samples};
use crate::device::Device;
use crate::driver::{self, Driver};

/// Measurements of each ring, each time.
const SLICES: usize = 400;

/// Buffers of a measurement, or a batch, if that is more.
const BUFFERS: usize = 32;

struct Pair {
    driver: Box<dyn Driver>,
    device: Device,
    load: Load,
    /// Cycles that reading the clock twice takes.
    clock: u64,
}

/// Adds samples: cycles of the time-stamp counter per buffer.
pub(crate) fn measure(load: Load, samples: &mut Samples) {
    let clock = (0..SLICES).map(|_| timed(|| ())).min().unwrap_or(0);
    let pair = |whose| {
        let (driver, areas) = driver::start(Case { load, whose });
        let device = Device::new(load.format, areas);
        Pair {
            driver,
            device,
            load,
            clock,
        }
    };
    samples.take(SLICES, &mut PerRing::new(pair), Pair::slice);
}

impl Pair {
    /// Cycles of the driver per buffer.
    fn slice(&mut self) -> f64 {
        let rounds = BUFFERS.div_ceil(self.load.batch);
        let cycles: u64 = (0..rounds).map(|_| self.round()).sum();
        cycles as f64 / (rounds * self.load.batch) as f64
    }

    fn round(&mut self) -> u64 {
        let batch = self.load.batch;
        let offer = timed(|| self.driver.offer(batch));
        assert_eq!(self.device.serve(), batch);
        let collect = timed(|| assert_eq!(self.driver.collect(batch), batch));
        (offer + collect).saturating_sub(2 * self.clock)
    }
}

/// Cycles that something takes, and reading the clock twice.
#[inline(always)]
fn timed(work: impl FnOnce()) -> u64 {
    let start = now();
    work();
    now().wrapping_sub(start)
}

/// The time-stamp counter, when all before it is done and nothing after it has begun.
#[inline(always)]
fn now() -> u64 {
    // SAFETY: Every x86-64 CPU has these instructions.
    unsafe {
        _mm_lfence();
        let now = _rdtsc();
        _mm_lfence();
        now
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Time per buffer with the driver on one core and the device on another: the driver publishes a
//! batch, and waits until it has all of it back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{anyhow, Result};

use crate::case::{Case, Load, Whose};
use crate::compared::{PerRing, Samples};
use crate::cpus::stay_on;
use crate::device::Device;
use crate::driver::{self, Driver};

/// Measurements of each ring, each time.
const SLICES: usize = 40;

/// Buffers of a measurement.
const BUFFERS: usize = 512;

/// Which ring the device serves: a [`Whose`], or it stops.
struct Turn(AtomicUsize);

impl Turn {
    const OVER: usize = 2;

    /// # Panics
    ///
    /// The device has stopped.
    fn begin(&self, whose: Whose) {
        let before = self.0.swap(whose as usize, Ordering::Relaxed);
        assert_ne!(before, Self::OVER, "the device has stopped");
    }

    fn is(&self, turn: usize) -> bool {
        self.0.load(Ordering::Relaxed) == turn
    }
}

/// Ends the other thread with this one, whyever it ends.
struct EndsTurns<'t>(&'t Turn);

impl Drop for EndsTurns<'_> {
    fn drop(&mut self) {
        self.0 .0.store(Turn::OVER, Ordering::Relaxed);
    }
}

struct Side {
    driver: Box<dyn Driver>,
    whose: Whose,
    batch: usize,
}

/// Adds samples: nanoseconds per buffer, with the driver on the first CPU and the device on the
/// second one.
///
/// # Errors
///
/// A thread may not run where it should.
pub(crate) fn measure(
    load: Load,
    [first, second]: [usize; 2],
    samples: &mut Samples,
) -> Result<()> {
    let turn = Turn(AtomicUsize::new(Whose::Ours as usize));
    let started = PerRing::new(|whose| {
        let (driver, areas) = driver::start(Case { load, whose });
        let batch = load.batch;
        let side = Side {
            driver,
            whose,
            batch,
        };
        (side, Device::new(load.format, areas))
    });
    let (mut sides, devices) = started.unzip();
    stay_on(first)?;
    thread::scope(|scope| {
        let device = scope.spawn(|| serve(devices, second, &turn));
        let ends = EndsTurns(&turn);
        samples.take(SLICES, &mut sides, |side| side.slice(&turn));
        drop(ends);
        device.join().map_err(|_| anyhow!("the device failed"))?
    })
}

fn serve(mut devices: PerRing<Device>, cpu: usize, turn: &Turn) -> Result<()> {
    let _ends = EndsTurns(turn);
    stay_on(cpu)?;
    loop {
        for whose in [Whose::Ours, Whose::Kernels] {
            while turn.is(whose as usize) {
                devices.of_mut(whose).serve();
            }
        }
        if turn.is(Turn::OVER) {
            return Ok(());
        }
    }
}

impl Side {
    /// Nanoseconds per buffer.
    fn slice(&mut self, turn: &Turn) -> f64 {
        turn.begin(self.whose);
        let rounds = BUFFERS / self.batch;
        let start = Instant::now();
        for _ in 0..rounds {
            self.round(turn);
        }
        start.elapsed().as_nanos() as f64 / (rounds * self.batch) as f64
    }

    fn round(&mut self, turn: &Turn) {
        self.driver.offer(self.batch);
        let mut missing = self.batch;
        while missing > 0 {
            match self.driver.collect(missing) {
                0 => assert!(!turn.is(Turn::OVER), "the device has stopped"),
                collected => missing -= collected,
            }
        }
    }
}

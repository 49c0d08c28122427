// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The device is reset while it has requests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{ensure, Context, Result};
use fe_tests::content::{FIRST, READ_ONLY};
use fe_tests::plan::{self, Kind};

use super::{open, stress};
use crate::driver::Observation;

/// Requests that the device answers between two resets, so that there is progress.
const ANSWERS: u64 = 40;

/// Fewest resets that are worth the name.
const RESETS: u64 = 3;

const ROUNDS: u64 = 60;

/// Threads whose reads begin at the same time.
const READERS: u64 = 16;

/// Again and again, while threads read, write, flush and know what has to be there.
pub(super) fn on_request(plan: &plan::Disk) -> Result<()> {
    if plan.kind == Kind::ReadOnly {
        return Ok(());
    }
    let disk = open(plan)?;
    let observation = Observation::of(&disk.device()?)?;
    let before = observation.resets()?;
    let is_done = AtomicBool::new(false);
    let resets = thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let result = stress::exercise(&disk, ROUNDS);
            is_done.store(true, Ordering::Release);
            result
        });
        let resets = reset_until(&observation, &is_done);
        match worker.join() {
            Ok(result) => result.and(resets),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })?;
    let counted = observation.resets()? - before;
    ensure!(
        resets >= RESETS && counted == resets,
        "{counted} resets, want {resets}"
    );
    Ok(())
}

/// Has the device reset, each time waits until that is begun and some requests were answered since;
/// how often.
fn reset_until(observation: &Observation, is_done: &AtomicBool) -> Result<u64> {
    let before = observation.resets()?;
    let mut resets = 0;
    while !is_done.load(Ordering::Acquire) {
        let enough = observation.sum("completed")? + ANSWERS;
        observation.reset()?;
        resets += 1;
        while observation.resets()? < before + resets {
            thread::yield_now();
        }
        while !is_done.load(Ordering::Acquire) && observation.sum("completed")? < enough {
            thread::yield_now();
        }
    }
    Ok(resets)
}

/// By the driver, because the device takes longer than it is given; and in the end each read has
/// what is there.
pub(super) fn in_time(plan: &plan::Disk) -> Result<()> {
    let disk = open(plan)?;
    let observation = Observation::of(&disk.device()?)?;
    thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|number| {
                let disk = &disk;
                scope.spawn(move || disk.verify(READ_ONLY.start + 64 * number, 8, FIRST))
            })
            .collect();
        for (reader, number) in readers.into_iter().zip(0..) {
            match reader.join() {
                Ok(result) => result.with_context(|| format!("reader {number}"))?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok::<(), anyhow::Error>(())
    })?;
    ensure!(observation.resets()? > 0, "the device was never reset");
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What a queue says it has done.

use anyhow::{ensure, Result};
use fe_tests::content::{FIRST, READ_ONLY};
use fe_tests::plan::Disk;

use super::open;
use crate::driver::Observation;

const READS: u64 = 50;

/// Each read is counted once, and alone it needs a notification and an interrupt.
pub(super) fn run(plan: &Disk) -> Result<()> {
    let disk = open(plan)?;
    let observation = Observation::of(&disk.device()?)?;
    let names = ["completed", "notified", "interrupts"];
    let before = names.map(|name| observation.sum(name));
    for number in 0..READS {
        disk.verify(READ_ONLY.start + 8 * number, 8, FIRST)?;
    }
    for (name, before) in names.into_iter().zip(before) {
        let more = observation.sum(name)? - before?;
        let is_right = match name {
            "completed" => more == READS,
            _ => (1..=2 * READS).contains(&more),
        };
        ensure!(is_right, "{name}: {more} for {READS} reads");
    }
    ensure!(observation.sum("busy")? == 0, "requests are left behind");
    Ok(())
}

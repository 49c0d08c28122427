// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The process that serves a disk is killed in the middle of its work, and another one goes on.

use std::io;

use anyhow::{ensure, Result};
use fe_tests::content::{RESTARTS, SCRATCH};
use fe_tests::errand::Errand;
use fe_tests::plan;

use super::open;
use crate::disk::Disk;
use crate::driver::Observation;

const TIMES: u64 = 10;

/// Sectors of a request.
const SECTORS: usize = 64;

/// Nothing fails, nothing is lost, and the driver does not notice: what the process had not done, the
/// next one does. It has one request at a time: QEMU knows only how many the last one has done, and
/// lets the next one begin there, which is right if they are done in order.
pub(super) fn run(plan: &plan::Disk) -> Result<()> {
    let disk = open(plan)?;
    let observation = Observation::of(&disk.device()?)?;
    let before = observation.resets()?;
    for time in 1..=TIMES {
        println!("{}", Errand::Restart(plan.name));
        let mut generation = time << 32;
        while !is_restarted(&disk, time)? {
            generation += 1;
            disk.write(SCRATCH.start, SECTORS, generation)?;
            disk.verify(SCRATCH.start, SECTORS, generation)?;
        }
    }
    let resets = observation.resets()? - before;
    ensure!(
        resets == 0,
        "the driver has reset the device {resets} times"
    );
    Ok(())
}

/// Whether this has been done so often, as the lab notes on the disk.
fn is_restarted(disk: &Disk, time: u64) -> Result<bool> {
    match disk.verify(RESTARTS, 1, time) {
        Ok(()) => Ok(true),
        Err(error) if error.downcast_ref::<io::Error>().is_some() => Err(error),
        Err(_) => Ok(false),
    }
}

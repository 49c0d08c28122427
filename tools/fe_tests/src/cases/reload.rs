// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The module goes and comes.

use anyhow::{ensure, Context, Result};
use fe_tests::content::{FIRST, LAST, READ_ONLY, WRITTEN};
use fe_tests::plan::{Kind, Machine};
use rustix::io::Errno;

use super::{open, wire};
use crate::driver::Module;

/// Each time all disks are there and hold what was written before. While one is open the module
/// stays.
pub(super) fn run(machine: &Machine, module: &Module) -> Result<()> {
    for time in 0..module.reloads {
        once(machine, module).with_context(|| format!("time {time}"))?;
    }
    Ok(())
}

fn once(machine: &Machine, module: &Module) -> Result<()> {
    for plan in machine.disks {
        let disk = open(plan)?;
        disk.verify(READ_ONLY.start, 64, FIRST)?;
        if plan.kind == Kind::Plain {
            disk.verify(WRITTEN.start, 64, LAST)?;
        }
        let busy = module
            .unload()
            .err()
            .context("unloaded while a disk is open")?;
        let errno = busy.downcast_ref::<Errno>();
        ensure!(errno == Some(&Errno::AGAIN), "{busy:#}");
    }
    module.unload()?;
    module.load()?;
    wire::still_work(machine)
}

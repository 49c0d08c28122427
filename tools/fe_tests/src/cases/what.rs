// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the kernel knows of a disk.

use anyhow::{ensure, Result};
use fe_tests::content::SECTORS;
use fe_tests::plan::{Disk, Kind};

use super::open;
use crate::driver;

/// Its size, and what it can do.
pub(super) fn run(plan: &Disk) -> Result<()> {
    let disk = open(plan)?;
    ensure!(
        disk.number("size")? == SECTORS,
        "it has {} sectors",
        disk.attribute("size")?
    );
    let is_read_only = disk.number("ro")? == 1;
    let is_wanted = plan.kind == Kind::ReadOnly;
    ensure!(is_read_only == is_wanted, "ro is {is_read_only}");
    let block = if plan.properties.contains("logical_block_size=4096") {
        4096
    } else {
        512
    };
    for name in ["queue/logical_block_size", "queue/physical_block_size"] {
        ensure!(
            disk.number(name)? == block,
            "{name} is {}",
            disk.attribute(name)?
        );
    }
    let cache = disk.attribute("queue/write_cache")?;
    ensure!(cache == "write back", "its cache is {cache:?}");
    for name in ["queue/discard_max_bytes", "queue/write_zeroes_max_bytes"] {
        ensure!(disk.number(name)? > 0, "{name} is 0");
    }
    Ok(())
}

/// Its interrupts.
pub(super) fn interrupts(plan: &Disk) -> Result<()> {
    let disk = open(plan)?;
    let found = driver::interrupts(&disk.device()?)?;
    ensure!(
        found.len() == plan.interrupts,
        "want {}, got {found:?}",
        plan.interrupts
    );
    Ok(())
}

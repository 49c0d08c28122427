// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The device goes in the middle of its work, and comes back.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{bail, ensure, Result};
use fe_tests::content::{FIRST, READ_ONLY};
use fe_tests::plan;

use super::open;
use crate::console::quietly;
use crate::disk::Disk;
use crate::driver::{tell, DRIVER};

const READERS: u64 = 4;

/// Where a PCI device's command register is in its configuration space.
const COMMAND: u64 = 4;

/// There: it may access memory, but has no registers. Without the former, QEMU may hang: one that
/// may not access memory takes nothing from a packed ring, but never finds it empty.
const NO_REGISTERS: [u8; 2] = [4, 0];

/// Its registers are gone, as if it had been pulled out: requests fail, the disk is empty, and the
/// driver lets go of the device. When that is there again, so is the disk.
pub(super) fn surprise(plan: &plan::Disk) -> Result<()> {
    let device = Device::of(&open(plan)?)?;
    device.lose_under_readers(plan, |disk| {
        let space = OpenOptions::new()
            .write(true)
            .open(device.path.join("config"));
        space?.write_all_at(&NO_REGISTERS, COMMAND)?;
        await_empty(disk)?;
        tell(device.driver("unbind"), &device.name)
    })?;
    tell(device.driver("bind"), &device.name)?;
    open(plan)?.verify(READ_ONLY.start, 64, FIRST)
}

/// It is unplugged in an orderly way.
pub(super) fn unplug(plan: &plan::Disk) -> Result<()> {
    let device = Device::of(&open(plan)?)?;
    device.lose_under_readers(plan, |_| tell(device.path.join("remove"), "1"))?;
    tell("/sys/bus/pci/rescan", "1")?;
    open(plan)?.verify(READ_ONLY.start, 64, FIRST)
}

/// A PCI device.
pub(super) struct Device {
    name: String,
    path: PathBuf,
}

impl Device {
    pub(super) fn of(disk: &Disk) -> Result<Self> {
        Ok(Self::named(disk.device()?))
    }

    pub(super) fn named(name: String) -> Self {
        let path = Path::new("/sys/bus/pci/devices").join(&name);
        Self { name, path }
    }

    pub(super) fn is_there(&self) -> bool {
        self.path.exists()
    }

    /// A file of our driver's in sysfs.
    fn driver(&self, file: &str) -> PathBuf {
        Path::new("/sys/bus/pci/drivers").join(DRIVER).join(file)
    }

    /// Has threads read until they cannot any more, and loses the device meanwhile.
    pub(super) fn lose_under_readers(
        &self,
        plan: &plan::Disk,
        lose: impl FnOnce(&Disk) -> Result<()>,
    ) -> Result<()> {
        let disk = open(plan)?;
        quietly(|| {
            thread::scope(|scope| {
                let readers: Vec<_> = (0..READERS)
                    .map(|number| {
                        let disk = &disk;
                        scope.spawn(move || read_until_error(disk, READ_ONLY.start + 64 * number))
                    })
                    .collect();
                let lost = lose(&disk);
                for reader in readers {
                    match reader.join() {
                        Ok(result) => result?,
                        Err(panic) => std::panic::resume_unwind(panic),
                    }
                }
                lost
            })
        })
    }
}

/// Fails if it ever reads something wrong.
fn read_until_error(disk: &Disk, first: u64) -> Result<()> {
    loop {
        let Err(error) = disk.verify(first, 8, FIRST) else {
            continue;
        };
        match error.downcast_ref::<std::io::Error>() {
            Some(_) => return Ok(()),
            None => bail!(error),
        }
    }
}

/// Waits until the driver has found out that the device is gone.
fn await_empty(disk: &Disk) -> Result<()> {
    while disk.number("size")? != 0 {
        thread::yield_now();
    }
    ensure!(
        disk.verify(READ_ONLY.start, 8, FIRST).is_err(),
        "it still reads"
    );
    Ok(())
}

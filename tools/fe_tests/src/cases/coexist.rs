// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A device changes from the kernel's own driver to ours, and back.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use fe_tests::plan::Machine;

use crate::driver::{tell, Module};

const DEVICES: &str = "/sys/bus/pci/devices";
const THEIRS: &str = "virtio-pci";
const OURS: &str = "virtio_fe";

/// The kernel's driver has the device, and keeps it when ours comes, until it is told otherwise.
pub(super) fn run(_machine: &Machine, module: &Module) -> Result<()> {
    ensure!(
        Path::new("/sys/block/vda").exists(),
        "the kernel's driver has no disk"
    );
    module.load()?;
    let device = device_of(THEIRS)?;
    hand_over(&device, THEIRS, OURS)?;
    ensure!(
        !Path::new("/sys/block/vda").exists(),
        "the kernel's driver still has a disk"
    );
    Ok(())
}

/// And the kernel's driver has it again.
pub(super) fn give_back(_machine: &Machine, module: &Module) -> Result<()> {
    let device = device_of(OURS)?;
    hand_over(&device, OURS, THEIRS)?;
    ensure!(
        Path::new("/sys/block/vda").exists(),
        "the kernel's driver has no disk"
    );
    module.unload()
}

/// The device that this driver has.
fn device_of(driver: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(DEVICES)? {
        let path = entry?.path();
        let has_it = fs::read_link(path.join("driver")).is_ok_and(|link| link.ends_with(driver));
        if has_it {
            return Ok(path);
        }
    }
    anyhow::bail!("{driver} has no device")
}

fn hand_over(device: &Path, from: &str, to: &str) -> Result<()> {
    let name = device
        .file_name()
        .context("a device without a name")?
        .to_string_lossy();
    tell(format!("/sys/bus/pci/drivers/{from}/unbind"), &name)?;
    tell(device.join("driver_override"), to)?;
    tell("/sys/bus/pci/drivers_probe", &name)?;
    let driver = fs::read_link(device.join("driver")).context("it has no driver")?;
    ensure!(driver.ends_with(to), "its driver is {}", driver.display());
    Ok(())
}

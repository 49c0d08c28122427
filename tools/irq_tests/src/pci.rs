// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Devices on PCI, and their drivers.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const DEVICES: &str = "/sys/bus/pci/devices";

/// The directory of the device of this number, of those with these identifiers.
pub(crate) fn find(vendor: &str, device: &str, number: usize) -> Result<PathBuf> {
    let is = |path: &Path, file: &str, want: &str| {
        fs::read_to_string(path.join(file)).is_ok_and(|found| found.trim() == want)
    };
    let entries = fs::read_dir(DEVICES).context(DEVICES)?.flatten();
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| is(path, "vendor", vendor) && is(path, "device", device))
        .collect();
    paths.sort();
    let path = paths.get(number).cloned();
    path.with_context(|| format!("there is no device {vendor}:{device} number {number}"))
}

/// What the kernel calls the device with this directory.
pub(crate) fn name(path: &Path) -> Result<String> {
    let name = path.file_name().context("a device's name")?;
    Ok(name.to_string_lossy().into_owned())
}

/// Gives the device to a driver, of which it has none or this one, and no other later.
pub(crate) fn give(path: &Path, driver: &str) -> Result<()> {
    fs::write(path.join("driver_override"), driver).context("driver_override")?;
    let bound = path.join("driver");
    if !bound.exists() {
        fs::write("/sys/bus/pci/drivers_probe", name(path)?).context("drivers_probe")?;
    }
    let bound = fs::read_link(bound).with_context(|| format!("{driver} does not take it"))?;
    anyhow::ensure!(bound.ends_with(driver), "it is {}'s", bound.display());
    Ok(())
}

/// Takes the device from its driver.
pub(crate) fn take_back(path: &Path) -> Result<()> {
    fs::write(path.join("driver/unbind"), name(path)?).context("unbind")
}

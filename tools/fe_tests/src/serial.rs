// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Disks of virtio_fe.ko's, by their serial numbers.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

/// The directory in sysfs of the disk with this serial number.
///
/// # Errors
///
/// There is none.
pub fn sysfs(serial: &str) -> Result<PathBuf> {
    for entry in fs::read_dir("/sys/block").context("/sys/block")? {
        let path = entry?.path();
        let is_ours = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("vfe"));
        if is_ours && fs::read_to_string(path.join("serial")).is_ok_and(|found| found == serial) {
            return Ok(path);
        }
    }
    bail!("no disk of virtio_fe's has the serial number {serial}")
}

/// Its node in `/dev`.
///
/// # Errors
///
/// There is none.
pub fn node(serial: &str) -> Result<PathBuf> {
    let directory = sysfs(serial)?;
    let name = directory.file_name().context("a disk without a name")?;
    Ok(Path::new("/dev").join(name))
}

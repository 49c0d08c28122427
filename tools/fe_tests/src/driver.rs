// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The module, and which driver a device has.

use std::ffi::CString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::OFlags;
use rustix::system::{delete_module, finit_module};

const NAME: &str = "virtio_fe";

/// The module's file.
pub(crate) struct Module {
    path: PathBuf,
    parameters: String,
}

impl Module {
    pub(crate) fn new(path: &Path, parameters: &str) -> Self {
        Self {
            path: path.to_owned(),
            parameters: parameters.to_owned(),
        }
    }

    /// Loads it, and with it has found all of its devices.
    pub(crate) fn load(&self) -> Result<()> {
        let file = File::open(&self.path).with_context(|| self.path.display().to_string())?;
        let parameters = CString::new(self.parameters.clone())?;
        finit_module(&file, &parameters, 0).context("loading virtio_fe")
    }

    /// Unloads it.
    pub(crate) fn unload(&self) -> Result<()> {
        let name = CString::new(NAME)?;
        delete_module(&name, OFlags::NONBLOCK.bits() as i32).context("unloading virtio_fe")
    }
}

/// Writes into a file of sysfs.
pub(crate) fn tell(path: impl AsRef<Path>, word: &str) -> Result<()> {
    let path = path.as_ref();
    fs::write(path, word).with_context(|| format!("writing {word:?} to {}", path.display()))
}

/// Names of the interrupts of a device, in `/proc/interrupts`.
pub(crate) fn interrupts(device: &str) -> Result<Vec<String>> {
    let table = fs::read_to_string("/proc/interrupts").context("/proc/interrupts")?;
    let last_words = table
        .lines()
        .filter_map(|line| line.split_whitespace().next_back());
    let of_device = |word: &&str| {
        let rest = word.strip_prefix(device);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    Ok(last_words.filter(of_device).map(str::to_owned).collect())
}

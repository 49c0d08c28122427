// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The module, and which driver a device has.

use std::ffi::CString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use rustix::fs::OFlags;
use rustix::system::{delete_module, finit_module};

const NAME: &str = "virtio_fe";

/// The name of its drivers.
pub(crate) const DRIVER: &str = NAME;

const DEBUGFS: &str = "/sys/kernel/debug";

/// The module's file.
pub(crate) struct Module {
    path: PathBuf,
    parameters: String,
    /// How often it is to go and come.
    pub(crate) reloads: u32,
}

impl Module {
    pub(crate) fn new(path: &Path, parameters: &str, reloads: u32) -> Self {
        Self {
            path: path.to_owned(),
            parameters: parameters.to_owned(),
            reloads,
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

/// The directory of a device in debugfs.
pub(crate) struct Observation(PathBuf);

impl Observation {
    /// # Errors
    ///
    /// There is none.
    pub(crate) fn of(device: &str) -> Result<Self> {
        let path = Path::new(DEBUGFS).join(format!("{NAME}-{device}"));
        ensure!(path.is_dir(), "no {}", path.display());
        Ok(Self(path))
    }

    /// How often the device was reset.
    pub(crate) fn resets(&self) -> Result<u64> {
        self.sum("resets")
    }

    /// Has the device reset, some time soon.
    pub(crate) fn reset(&self) -> Result<()> {
        tell(self.0.join("reset"), "1")
    }

    /// The sum of the numbers that follow this word.
    pub(crate) fn sum(&self, word: &str) -> Result<u64> {
        let text = fs::read_to_string(self.0.join("queues")).context("queues")?;
        let words: Vec<&str> = text.split_whitespace().collect();
        let numbers = words.windows(2).filter(|pair| pair[0] == word);
        let numbers = numbers.map(|pair| pair[1].parse::<u64>().with_context(|| word.to_owned()));
        numbers.sum()
    }
}

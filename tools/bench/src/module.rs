// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Loads and unloads `ioregion.ko`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::OFlags;
use rustix::system::{delete_module, finit_module};

/// What a case needs of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// It is loaded.
    Loaded,
    /// It is not loaded.
    Absent,
    /// Either.
    Any,
}

/// The module, and how it was found.
pub(crate) struct Module {
    path: PathBuf,
    was_loaded: bool,
}

impl Module {
    /// The module in the file `path`.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            was_loaded: is_loaded()?,
        })
    }

    /// Loads or unloads it as needed.
    pub(crate) fn provide(&self, need: Need) -> Result<()> {
        match (need, is_loaded()?) {
            (Need::Loaded, false) => self.load(),
            (Need::Absent, true) => delete_module(c"ioregion", OFlags::NONBLOCK.bits() as i32)
                .context("unload ioregion"),
            _ => Ok(()),
        }
    }

    /// Leaves it as it was found.
    pub(crate) fn restore(&self) -> Result<()> {
        self.provide(if self.was_loaded {
            Need::Loaded
        } else {
            Need::Absent
        })
    }

    fn load(&self) -> Result<()> {
        let name = self.path.display();
        let file = File::open(&self.path).with_context(|| format!("open {name}"))?;
        finit_module(&file, c"", 0).with_context(|| format!("load {name}"))
    }
}

fn is_loaded() -> Result<bool> {
    let modules = fs::read_to_string("/proc/modules").context("/proc/modules")?;
    Ok(modules.lines().any(|line| line.starts_with("ioregion ")))
}

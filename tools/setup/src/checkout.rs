// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Where things are in the checkout this tool was started in.

use anyhow::{bail, Context, Result};
use std::path::{Path, PathBuf};

/// The root of a checkout of this project.
pub(crate) struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// Finds the checkout that holds the current directory.
    ///
    /// # Errors
    ///
    /// No directory from here upwards has `tools/kernel/lab.config`.
    pub(crate) fn find() -> Result<Self> {
        let here = std::env::current_dir().context("the current directory cannot be read")?;
        for directory in here.ancestors() {
            if directory.join("tools/kernel/lab.config").is_file() {
                return Ok(Self::at(directory));
            }
        }
        bail!("{} is not inside a checkout of Shunt", here.display())
    }

    /// The checkout whose root is `root`.
    pub(crate) fn at(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
        }
    }

    /// The root itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A path below the root.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// The Cargo workspace.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.path("tools")
    }
}

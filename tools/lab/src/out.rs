// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Where the lab finds its inputs and puts its results.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use clap::Args;

/// Inputs and the place for results, as options.
#[derive(Debug, Clone, Args)]
pub(crate) struct Places {
    /// Top of the checkout
    #[arg(long, default_value = ".", global = true)]
    root: PathBuf,
    /// Directory of bzImage, vmlinux, modules and source [default: ROOT/out/kernel]
    #[arg(long, global = true)]
    kernel: Option<PathBuf>,
    /// Directory of our kernel modules [default: ROOT/out/modules]
    #[arg(long, global = true)]
    modules: Option<PathBuf>,
}

impl Places {
    /// A file of the checkout.
    pub(crate) fn source(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The directory of results called `name`, created if it is not there.
    ///
    /// # Errors
    ///
    /// It cannot be created.
    pub(crate) fn out(&self, name: &str) -> Result<PathBuf> {
        let directory = self.root.join("out").join(name);
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        Ok(directory)
    }

    /// A file of the kernel build: `bzImage`, `vmlinux`, or below `modules` or `source`.
    ///
    /// # Errors
    ///
    /// It is not there.
    pub(crate) fn kernel(&self, path: &str) -> Result<PathBuf> {
        let default = || self.root.join("out/kernel");
        let file = self.kernel.clone().unwrap_or_else(default).join(path);
        ensure!(
            file.exists(),
            "{} is missing: `make kernel` builds it",
            file.display()
        );
        Ok(file)
    }

    /// Our modules, in the order of their names.
    ///
    /// # Errors
    ///
    /// The directory is not there.
    pub(crate) fn modules(&self) -> Result<Vec<PathBuf>> {
        let default = || self.root.join("out/modules");
        let directory = self.modules.clone().unwrap_or_else(default);
        modules_in(&directory)
            .with_context(|| format!("{}: `make modules` builds them", directory.display()))
    }

    /// The modules that the bench compares ours with, if they have been built.
    ///
    /// # Errors
    ///
    /// They cannot be looked for.
    pub(crate) fn control(&self) -> Result<Vec<PathBuf>> {
        let directory = self.out("control")?;
        modules_in(&directory).with_context(|| directory.display().to_string())
    }
}

/// The modules in a directory, in the order of their names.
fn modules_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut modules = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension() == Some("ko".as_ref()) {
            modules.push(path);
        }
    }
    modules.sort();
    Ok(modules)
}

/// Writes `text` to a file, naming it in an error.
///
/// # Errors
///
/// It cannot be written.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}

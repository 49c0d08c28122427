// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Building our modules against the kernel that `out/kernel` leads to.

use crate::cache::{fresh_dir, Cache};
use crate::checkout::Checkout;
use crate::command::logged;
use crate::kernel::{compiler_of, linked_key};
use crate::progress::Step;
use crate::toolchain::Toolchain;
use anyhow::Result;
use std::fs;
use std::path::Path;

/// The file that says which kernel the objects beside it are for.
const KERNEL: &str = "kernel-key";

/// Builds the modules into `out/modules`.
///
/// # Errors
///
/// There is no kernel yet, or the build fails.
pub(crate) fn build(checkout: &Checkout, cache: &Cache) -> Result<()> {
    let step = Step::begin("build the modules", None);
    let directory = checkout.path("out/modules");
    let key = linked_key(checkout)?;
    // Objects for another kernel may look up to date to make.
    if fs::read_to_string(directory.join(KERNEL)).unwrap_or_default() != key {
        fresh_dir(&directory)?;
        fs::write(directory.join(KERNEL), &key)?;
    }
    make(checkout, cache, &directory, &[], |line| step.advance(line))?;
    step.done("in out/modules");
    Ok(())
}

/// Runs the kernel's make over our Kbuild with its objects in `directory`, where the log
/// is kept as `build.log`.
///
/// # Errors
///
/// There is no kernel yet, or make fails.
pub(crate) fn make(
    checkout: &Checkout,
    cache: &Cache,
    directory: &Path,
    words: &[&str],
    each: impl FnMut(&str),
) -> Result<()> {
    linked_key(checkout)?;
    let log = directory.join("build.log");
    crate::cache::remove(&log)?;
    let kernel = checkout.path("out/kernel/build");
    let mut command = Toolchain::find(cache, compiler_of(&kernel)?)?.make(&kernel);
    command
        .arg(format!("M={}", checkout.root().display()))
        .arg(format!("MO={}", directory.display()))
        .args(words)
        .arg("modules");
    logged(&mut command, &log, each)
}

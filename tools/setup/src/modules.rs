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

/// Builds our modules into `out/modules`.
///
/// # Errors
///
/// There is no kernel yet, or the build fails.
pub(crate) fn build(checkout: &Checkout, cache: &Cache) -> Result<()> {
    build_from(checkout, cache, checkout.root(), "out/modules")
}

/// Builds the kernel's own virtio drivers, as the bench compares ours with, into `out/control`.
///
/// # Errors
///
/// As [`build`].
pub(crate) fn build_control(checkout: &Checkout, cache: &Cache) -> Result<()> {
    let source = checkout.path("tools/fe_bench/control");
    build_from(checkout, cache, &source, "out/control")
}

/// Builds the modules of the Kbuild in `source`.
fn build_from(checkout: &Checkout, cache: &Cache, source: &Path, out: &str) -> Result<()> {
    let step = Step::begin(&format!("build the modules in {out}"), None);
    let directory = checkout.path(out);
    let key = linked_key(checkout)?;
    // Objects for another kernel may look up to date to make.
    if fs::read_to_string(directory.join(KERNEL)).unwrap_or_default() != key {
        fresh_dir(&directory)?;
        fs::write(directory.join(KERNEL), &key)?;
    }
    make(checkout, cache, [source, &directory], &[], |line| {
        step.advance(line)
    })?;
    step.done("built");
    Ok(())
}

/// Runs the kernel's make over the Kbuild in the directory `source` with its objects in
/// `directory`, where the log is kept as `build.log`.
///
/// # Errors
///
/// There is no kernel yet, or make fails.
pub(crate) fn make(
    checkout: &Checkout,
    cache: &Cache,
    [source, directory]: [&Path; 2],
    words: &[&str],
    each: impl FnMut(&str),
) -> Result<()> {
    linked_key(checkout)?;
    let log = directory.join("build.log");
    crate::cache::remove(&log)?;
    let kernel = checkout.path("out/kernel/build");
    let mut command = Toolchain::find(cache, compiler_of(&kernel)?)?.make(&kernel);
    command
        .arg(format!("M={}", source.display()))
        .arg(format!("MO={}", directory.display()))
        .args(words)
        .arg("modules");
    logged(&mut command, &log, each)
}

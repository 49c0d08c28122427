// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The unit tests of the pure crates, a part of the corpora and the ring in threads under Miri,
//! an interpreter that finds undefined behaviour and data races, where the machine's rustup has a
//! nightly toolchain.
//!
//! The pure crates have no unsafe code, but what they are built on has, and the ring's two ends
//! share memory.

use crate::checkout::Checkout;
use crate::command::output;
use crate::layers::{count_tests, Tally};
use crate::progress::Step;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Cases of each property: an interpreter is slow.
const CASES: &str = "2";

/// Runs them and prints the sum. Says whether none failed.
///
/// # Errors
///
/// The crates cannot be listed.
pub(crate) fn all(checkout: &Checkout) -> Result<bool> {
    let log = checkout.path("out/miri.log");
    fs::create_dir_all(checkout.path("out")).context("out")?;
    crate::cache::remove(&log)?;
    let tally = tally(checkout, &log)?;
    println!("{tally}");
    Ok(tally.failed == 0)
}

/// Runs them and counts. Without Miri they are one test that is skipped.
///
/// # Errors
///
/// The crates cannot be listed.
pub(crate) fn tally(checkout: &Checkout, log: &Path) -> Result<Tally> {
    if let Err(reason) = prepare() {
        println!("skipped miri: {reason:#}");
        return Ok(Tally {
            skipped: 1,
            ..Tally::default()
        });
    }
    let step = Step::begin("test pure crates under Miri", None);
    let mut miri = Command::new("cargo");
    miri.current_dir(checkout.workspace())
        .args(["+nightly", "miri", "test", "--no-fail-fast"])
        .args(["--lib", "--test", "threads"])
        .env("PROPTEST_CASES", CASES)
        // Properties look for the files of cases that failed before.
        .env("MIRIFLAGS", "-Zmiri-disable-isolation");
    for name in pure_crates(checkout)? {
        miri.args(["--package", &name]);
    }
    Ok(count_tests(&mut miri, log, step))
}

/// Adds Miri to the nightly toolchain, if there is one.
fn prepare() -> Result<()> {
    let version = || output(Command::new("cargo").args(["+nightly", "miri", "--version"]));
    if version().is_ok() {
        return Ok(());
    }
    let mut add = Command::new("rustup");
    add.args([
        "component",
        "add",
        "--toolchain",
        "nightly",
        "miri",
        "rust-src",
    ]);
    output(&mut add).context("there is no nightly toolchain with Miri")?;
    version().map(drop)
}

/// The crates in `rust/` that Cargo builds.
fn pure_crates(checkout: &Checkout) -> Result<Vec<String>> {
    let folder = checkout.path("rust");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").exists() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! bindgen, which the kernel's build needs to read its own C headers from Rust.
//!
//! One pinned version is built into the cache: what a distribution carries may be older
//! than the kernel's minimum, and a pinned one makes builds alike everywhere.

use crate::cache::{fresh_dir, Cache};
use crate::command::stepped;
use crate::progress::Step;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The version we build with; Linux 7.3 wants 0.71.1 or newer.
const VERSION: &str = "0.73.2";

/// How many lines `cargo install` prints while it builds this version.
const LINES: u64 = 110;

/// Where the program lies once [`prepare`] has succeeded.
pub(crate) fn program(cache: &Cache) -> PathBuf {
    cache.path("bindgen").join(VERSION).join("bin/bindgen")
}

/// Builds bindgen into the cache unless it is there.
///
/// # Errors
///
/// `cargo install` fails, for want of a network for instance.
pub(crate) fn prepare(cache: &Cache) -> Result<()> {
    if program(cache).is_file() {
        return Ok(());
    }
    let _lock = cache.lock()?;
    if program(cache).is_file() {
        return Ok(());
    }
    let partial = cache.path("bindgen/partial");
    fresh_dir(&partial)?;
    let step = Step::begin(&format!("build bindgen {VERSION}"), Some(LINES));
    let mut command = Command::new("sh");
    // cargo reports on standard error, which we want to count.
    command
        .args([
            "-c",
            "exec cargo install --locked --version \"$1\" --root \"$2\" bindgen-cli 2>&1",
        ])
        .args(["sh", VERSION])
        .arg(&partial)
        .env("CARGO_TARGET_DIR", partial.join("target"))
        // It runs for seconds per kernel: its own build is what takes time.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    stepped(&mut command, &cache.path("bindgen/build.log"), &step)?;
    crate::cache::remove(&partial.join("target"))?;
    let home = cache.path("bindgen").join(VERSION);
    fs::rename(&partial, &home).with_context(|| format!("cannot make {}", home.display()))?;
    step.done("built");
    Ok(())
}

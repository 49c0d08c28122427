// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Verdicts, in KTAP on standard output (`Documentation/dev-tools/ktap.rst` of Linux).

use std::fmt;
use std::io::{stdout, Write};

use anyhow::{Context, Result};

/// The error of a test that cannot run here.
#[derive(Debug)]
pub struct Skip(pub String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// Runs a test for each of the names, given its place among them; whether none of them failed.
///
/// # Errors
///
/// Standard output is gone.
pub fn report_all(names: &[&str], mut run: impl FnMut(usize) -> Result<()>) -> Result<bool> {
    println!("KTAP version 1");
    println!("1..{}", names.len());
    let mut passed = true;
    for (test, name) in names.iter().enumerate() {
        passed &= report(test + 1, name, run(test));
        stdout().flush().context("standard output")?;
    }
    Ok(passed)
}

/// Prints a test's verdict; whether it did not fail.
fn report(number: usize, name: &str, result: Result<()>) -> bool {
    match result {
        Ok(()) => println!("ok {number} {name}"),
        Err(error) if error.is::<Skip>() => println!("ok {number} {name} # SKIP {error}"),
        Err(error) => {
            println!("# {name}: {error:#}");
            println!("not ok {number} {name}");
            return false;
        }
    }
    true
}

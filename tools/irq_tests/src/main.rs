// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Tests of exitless.ko on an assigned device, in KTAP.
//!
//! Each test is a guest of a few instructions ([`rawguest`]) that has QEMU's `edu` device raise
//! interrupts, which VFIO assigns to it. What the guest counts and how often it exits decides.

mod cases;
mod edu;
mod figures;
mod guest;
mod modules;
mod scene;
mod vfio;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use shunt_irq::exitless;

use cases::{Skip, Test, TESTS};

/// Tests of exitless.ko. Results are KTAP on standard output; the exit status is not zero when a
/// test failed.
#[derive(Parser)]
struct Options {
    /// Run only tests whose name contains one of these
    filters: Vec<String>,
    /// The module file
    #[arg(long)]
    module: PathBuf,
    /// Print figures, a JSON object per line, instead of testing
    #[arg(long)]
    figures: bool,
    /// Be what a test kills
    #[arg(long, hide = true)]
    victim: bool,
}

/// The option that makes a process the victim of a test.
const VICTIM: &str = "--victim";

/// Seconds until a test that hangs ends the process, which the test's absence then tells of.
const LIMIT: u32 = 60;

fn main() -> ExitCode {
    match work(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all tests passed.
fn work(options: &Options) -> Result<bool> {
    if options.victim {
        cases::be_victim()?;
        return Ok(true);
    }
    modules::load(&options.module)?;
    if options.figures {
        figures::print()?;
        return Ok(true);
    }
    let is_wanted = |test: &&Test| {
        let mut filters = options.filters.iter();
        options.filters.is_empty() || filters.any(|filter| test.name.contains(filter.as_str()))
    };
    let tests: Vec<&Test> = TESTS.iter().filter(is_wanted).collect();
    println!("KTAP version 1");
    println!("1..{}", tests.len());
    let mut passed = true;
    for (test, number) in tests.iter().zip(1..) {
        passed &= report(number, test);
        std::io::stdout().flush().context("standard output")?;
    }
    Ok(passed)
}

/// Runs a test; whether it did not fail.
fn report(number: usize, test: &Test) -> bool {
    let name = test.name;
    // SAFETY: It takes no memory of ours.
    unsafe { libc::alarm(LIMIT) };
    match (test.run)() {
        Ok(()) => {
            println!("ok {number} {name}");
            true
        }
        Err(error) if error.is::<Skip>() => {
            println!("ok {number} {name} # SKIP {error}");
            true
        }
        Err(error) => {
            println!("# {name}: {error:#}");
            println!("not ok {number} {name}");
            false
        }
    }
}

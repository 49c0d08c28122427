// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Tests of virtio_fe.ko on devices of QEMU's, in KTAP.
//!
//! The lab boots a machine of [`fe_tests::plan`], whose disks hold what [`fe_tests::content`]
//! says. Each test is run on each disk. What they leave there is checked on the host.
#![forbid(unsafe_code)]

mod cases;
mod console;
mod disk;
mod driver;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use fe_tests::plan;
use module_tests::verdict;

use driver::Module;

/// Tests of virtio_fe.ko. Results are KTAP on standard output; the exit status is not zero when a
/// test failed.
#[derive(Parser)]
struct Options {
    /// The machine that this is
    #[arg(long)]
    machine: String,
    /// The module file
    #[arg(long)]
    module: PathBuf,
    /// Seconds for which devices that lie do so
    #[arg(long, default_value_t = 10)]
    attack_seconds: u64,
    /// How often the module goes and comes
    #[arg(long, default_value_t = 8)]
    reloads: u32,
}

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
    let machine = plan::machine(&options.machine).context("there is no such machine")?;
    let module = Module::new(&options.module, machine.parameters, options.reloads);
    let tests = cases::of(machine, Duration::from_secs(options.attack_seconds));
    let names: Vec<&str> = tests.iter().map(|test| test.name.as_str()).collect();
    verdict::report_all(&names, |test| (tests[test].run)(machine, &module))
}

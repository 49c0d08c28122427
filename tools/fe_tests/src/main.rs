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

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use fe_tests::plan::{self, Machine};

use cases::{Skip, Test};
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
    println!("KTAP version 1");
    println!("1..{}", tests.len());
    let mut passed = true;
    for (test, number) in tests.iter().zip(1..) {
        passed &= report(number, test, machine, &module);
        std::io::stdout().flush().context("standard output")?;
    }
    Ok(passed)
}

/// Runs a test; whether it did not fail.
fn report(number: usize, test: &Test, machine: &Machine, module: &Module) -> bool {
    let name = &test.name;
    match (test.run)(machine, module) {
        Ok(()) => println!("ok {number} {name}"),
        Err(error) => match error.downcast_ref::<Skip>() {
            Some(Skip(reason)) => println!("ok {number} {name} # SKIP {reason}"),
            None => {
                println!("# {name}: {error:#}");
                println!("not ok {number} {name}");
                return false;
            }
        },
    }
    true
}

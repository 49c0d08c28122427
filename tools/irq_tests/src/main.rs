// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Tests of exitless.ko on an assigned device, in KTAP.
//!
//! Each test is a guest of a few instructions ([`rawguest`]) that has QEMU's `edu` device raise
//! interrupts, which VFIO assigns to it. What the guest counts and how often it exits decides.

mod asker;
mod cases;
mod edu;
mod figures;
mod guest;
mod host;
mod hpet;
mod interface;
mod linux;
mod linux_cases;
mod linux_figures;
mod modules;
mod nic;
mod nic_cases;
mod nic_figures;
mod pci;
mod scene;
mod traffic;
mod vfio;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use module_tests::verdict;
use shunt_irq::exitless;

use cases::TESTS;
use host::Strays;

/// Tests of exitless.ko. Results are KTAP on standard output; the exit status is not zero when a
/// test failed.
#[derive(Parser)]
struct Options {
    /// Run only tests whose name contains one of these
    filters: Vec<String>,
    /// The module file
    #[arg(long, default_value = "/lib/modules/exitless.ko")]
    module: PathBuf,
    /// Seconds until a test that hangs ends the process, which the test's absence then tells of
    #[arg(long, default_value_t = 60)]
    limit: u32,
    /// With the HPET as the device, instead of those that VFIO assigns
    #[arg(long)]
    hpet: bool,
    /// With a Linux guest instead of raw ones, whose VMM is QEMU
    #[arg(long)]
    linux: bool,
    /// The same, with a network interface as the device
    #[arg(long)]
    nic: bool,
    /// Be the guest's side: answer each line of standard input
    #[arg(long, hide = true)]
    answer: bool,
    /// The same, with a network interface
    #[arg(long, hide = true)]
    carry: bool,
    /// Print figures, a JSON object per line, instead of testing
    #[arg(long)]
    figures: bool,
    /// Be what a test kills
    #[arg(long, hide = true)]
    victim: bool,
}

/// The option that makes a process the victim of a test.
const VICTIM: &str = "--victim";

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
    if options.answer {
        asker::answer()?;
        return Ok(true);
    }
    if options.carry {
        nic::answer()?;
        return Ok(true);
    }
    match options.hpet {
        true => modules::load_neighbour(&options.module, "hpet_msi")?,
        false => modules::load_vfio(&options.module)?,
    }
    if options.figures {
        let print = match (options.linux, options.nic) {
            (_, true) => nic_figures::print,
            (true, _) => linux_figures::print,
            _ => figures::print,
        };
        return print(&options.module).map(|()| true);
    }
    modules::load(&options.module)?;
    match (options.nic, options.linux) {
        (true, _) => nic_tests(options),
        (_, true) => linux_tests(options),
        _ => raw_tests(options),
    }
}

fn raw_tests(options: &Options) -> Result<bool> {
    let names: Vec<_> = TESTS.iter().map(|test| test.name).collect();
    report_all(options, &names, |test| {
        let strays = Strays::now()?;
        (TESTS[test].run)()?;
        strays.expect_no_more().context("afterwards")
    })
}

fn linux_tests(options: &Options) -> Result<bool> {
    let tests = linux_cases::TESTS;
    let names: Vec<_> = tests.iter().map(|test| test.name).collect();
    let mut guest = None;
    report_all(options, &names, |test| (tests[test].run)(&mut guest))
}

fn nic_tests(options: &Options) -> Result<bool> {
    interface::serve(&options.module)?;
    let tests = nic_cases::TESTS;
    let names: Vec<_> = tests.iter().map(|test| test.name).collect();
    report_all(options, &names, |test| tests[test].run())
}

/// Runs tests, given by their places in `names`; whether none of them failed.
fn report_all(
    options: &Options,
    names: &[&str],
    mut run: impl FnMut(usize) -> Result<()>,
) -> Result<bool> {
    let filters = &options.filters;
    let is_wanted = |&test: &usize| {
        let mut wanted = filters.iter();
        filters.is_empty() || wanted.any(|filter| names[test].contains(filter.as_str()))
    };
    let tests: Vec<usize> = (0..names.len()).filter(is_wanted).collect();
    let wanted: Vec<&str> = tests.iter().map(|&test| names[test]).collect();
    verdict::report_all(&wanted, |number| {
        // SAFETY: It takes no memory of ours.
        unsafe { libc::alarm(options.limit) };
        run(tests[number])
    })
}

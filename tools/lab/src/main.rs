// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The lab: builds the images, boots L1 in QEMU, runs one job there, judges it.
//!
//! [`images`] makes what is booted from a [`tree`] of files, [`qemu`] has the command line,
//! [`boot`] follows one L1 to its end. Each job of the user is a module of [`jobs`].
#![forbid(unsafe_code)]

mod bochs;
mod boot;
mod bpftrace;
mod chart;
mod companion;
mod disk_root;
mod images;
mod jobs;
mod klog;
mod ktap;
mod modules;
mod other_vmm;
mod out;
mod progress;
mod qemu;
mod report;
mod second_archive;
mod tree;
mod vfio_user;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use jobs::Lab;
use out::Places;
use qemu::Accelerator;

/// Builds the images, boots L1 in QEMU, runs one job there, judges it.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    places: Places,
    /// Who executes L1's instructions
    #[arg(long, value_enum, default_value_t = Accelerator::Tcg, global = true)]
    accel: Accelerator,
    #[command(subcommand)]
    job: Job,
}

#[derive(Subcommand)]
enum Job {
    /// Boot Linux guests from a disk served in each dispatch mode, and report
    Run(jobs::run::Arguments),
    /// Run the kernel selftests and every guest scenario
    Test(jobs::test::Arguments),
    /// Count instructions per access, deterministically
    Bench(jobs::bench::Arguments),
    /// Measure load, latency and loss of network devices, in every way to dispatch
    Eval(jobs::eval::Arguments),
    /// A shell in L1
    Shell,
    /// The console of a guest whose disk is served through ioregion
    Guest(jobs::interactive::Arguments),
    /// Run one program in L1 and print what it says
    Exec(jobs::exec::Arguments),
}

fn main() -> ExitCode {
    match work(Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the job succeeded; if not, it has said why.
fn work(options: Options) -> Result<bool> {
    let lab = Lab::prepare(options.places, options.accel)?;
    match options.job {
        Job::Run(arguments) => jobs::run::run(&lab, &arguments),
        Job::Test(arguments) => jobs::test::run(&lab, &arguments),
        Job::Bench(arguments) => jobs::bench::run(&lab, &arguments),
        Job::Eval(arguments) => jobs::eval::run(&lab, &arguments),
        Job::Shell => jobs::interactive::shell(&lab),
        Job::Guest(arguments) => jobs::interactive::guest(&lab, &arguments),
        Job::Exec(arguments) => jobs::exec::run(&lab, &arguments),
    }
}

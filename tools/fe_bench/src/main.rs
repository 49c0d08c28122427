// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Has the kernel's own virtio driver and virtio_fe.ko do the same work, one after the other, on the
//! same device, and marks its begin and its end for a plugin of QEMU's, which counts.

mod disk;
mod mark;
mod modules;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use fe_bench::line::Line;
use fe_bench::plan::{self, Driver, Machine, Work};

use disk::Disk;
use modules::Modules;

/// Operations before those that are counted.
const BEFORE: u64 = 64;

/// Has drivers work. What they did is printed, a JSON object per line.
#[derive(Parser)]
struct Options {
    /// The machine that this is
    #[arg(long)]
    machine: String,
}

fn main() -> ExitCode {
    match bench(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &Options) -> Result<()> {
    let machine = plan::machine_named(&options.machine).context("there is no such machine")?;
    Driver::BOTH
        .into_iter()
        .try_for_each(|driver| work_of(driver, machine).context(driver.name()))
}

fn work_of(driver: Driver, machine: &Machine) -> Result<()> {
    let modules = Modules::load(driver, machine.bus)?;
    modules.code()?.iter().try_for_each(print)?;
    let mut disk = Disk::open(driver)?;
    for &work in machine.works {
        let operations = operations(work);
        disk.work(work, BEFORE)?;
        mark::begin();
        disk.work(work, operations)?;
        mark::end();
        print(&Line::Work {
            driver,
            work: work.name().to_owned(),
            operations,
        })?;
    }
    drop(disk);
    modules.unload()
}

/// How often work is done.
fn operations(work: Work) -> u64 {
    match work {
        Work::ReadOne => 512,
        Work::ReadMany => 2048,
        Work::WriteFlush => 128,
    }
}

fn print(line: &Line) -> Result<()> {
    println!("{}", serde_json::to_string(line)?);
    Ok(())
}

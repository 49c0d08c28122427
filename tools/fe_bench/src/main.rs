// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Has the kernel's own virtio drivers and virtio_fe.ko do the same work, one after the other, and
//! marks its begin and its end for a plugin of QEMU's, which counts.

mod disk;
mod mark;
mod modules;
mod wire;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use fe_bench::line::Line;
use fe_bench::plan::{self, Driver, Kind, Machine, Work};

use disk::Disk;
use modules::Modules;
use wire::Wire;

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
    match machine.kind {
        Kind::Disk => Driver::BOTH
            .into_iter()
            .try_for_each(|driver| disk(driver, machine).context(driver.name())),
        Kind::Wire => wire(machine),
    }
}

/// A driver has the disk, and gives it back.
fn disk(driver: Driver, machine: &Machine) -> Result<()> {
    let modules = Modules::load(driver, machine)?;
    modules.code()?.iter().try_for_each(print)?;
    let mut disk = Disk::open(driver)?;
    for &work in machine.works {
        count(driver, work, |operations| disk.work(work, operations))?;
    }
    drop(disk);
    modules.unload()
}

/// Each driver has an end of the wire.
fn wire(machine: &Machine) -> Result<()> {
    wire::assign()?;
    let load = |driver| Modules::load(driver, machine);
    let modules = [load(Driver::C)?, load(Driver::Rust)?];
    for modules in &modules {
        modules.code()?.iter().try_for_each(print)?;
    }
    let wire = Wire::new()?;
    for driver in Driver::BOTH {
        for &work in machine.works {
            count(driver, work, |operations| {
                wire.work(driver, work, operations)
            })?;
        }
    }
    Ok(())
}

/// Has some work done, and then once more to be counted.
fn count(driver: Driver, work: Work, mut run: impl FnMut(u64) -> Result<()>) -> Result<()> {
    let operations = operations(work);
    run(BEFORE)?;
    mark::begin();
    run(operations)?;
    mark::end();
    print(&Line::Work {
        driver,
        work: work.name().to_owned(),
        operations,
    })
}

/// How often work is done.
fn operations(work: Work) -> u64 {
    match work {
        Work::ReadMany => 2048,
        Work::Send | Work::Receive => 1024,
        Work::ReadOne | Work::RoundTrip => 512,
        Work::WriteFlush => 128,
    }
}

fn print(line: &Line) -> Result<()> {
    println!("{}", serde_json::to_string(line)?);
    Ok(())
}

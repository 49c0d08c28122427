// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Our virtqueues beside the kernel's, natively: the same driver's work, the same device, the same
//! run.
//!
//! | metric | what | repeats |
//! |---|---|---|
//! | `instructions` | of the driver, as callgrind counts them | exactly |
//! | `line-transfers` | cache lines of the ring that change hands, by the model in [`lines`] | exactly |
//! | `cycles` | of the driver, on one core | no |
//! | `two-cores` | nanoseconds, driver and device on a core each | no |
//!
//! All are per buffer. The `ratio` of a time is the kernel's over ours, of the shortest
//! measurements and of the 10th percentiles: above 1, ours is faster.

mod area;
mod case;
mod compared;
mod cpus;
mod cycles;
mod device;
mod driver;
mod kernels;
mod lines;
mod ours;
mod played;
mod rows;
mod samples;
mod trace;
mod two_cores;
mod valgrind;

use anyhow::Result;
use clap::Parser;

use case::{Case, Load};
use compared::Compared;
use rows::{Metric, Row};

/// Measures, and prints figures as one JSON object per line on standard output.
#[derive(Parser)]
struct Options {
    /// Be what valgrind watches.
    #[arg(long, hide = true)]
    play: bool,
}

const INSTRUCTIONS: Metric = Metric {
    name: "instructions",
    unit: "instructions/buffer",
};
const LINE_TRANSFERS: Metric = Metric {
    name: "line-transfers",
    unit: "transfers/buffer",
};
const CYCLES: Metric = Metric {
    name: "cycles",
    unit: "cycles/buffer",
};
const TWO_CORES: Metric = Metric {
    name: "two-cores",
    unit: "ns/buffer",
};

fn main() -> Result<()> {
    if Options::parse().play {
        return played::play();
    }
    print_counts(INSTRUCTIONS, &valgrind::instructions()?)?;
    print_counts(LINE_TRANSFERS, &valgrind::transfers()?)?;
    times()
}

/// Prints counts, one for each case.
fn print_counts(metric: Metric, values: &[f64]) -> Result<()> {
    let row = |(case, &value)| rows::count(case, metric, value);
    print(Case::all().zip(values).map(row))
}

fn times() -> Result<()> {
    let cpus = cpus::allowed()?;
    cpus::stay_on(cpus[0])?;
    let cycles = compared::in_rounds(|load, samples| {
        cycles::measure(load, samples);
        Ok(())
    });
    print_compared(CYCLES, &cycles?)?;
    let Some(cores) = cpus::two_cores(&cpus) else {
        eprintln!("ring_bench: no figures of two cores: there is one");
        return Ok(());
    };
    let times = compared::in_rounds(|load, samples| two_cores::measure(load, cores, samples));
    print_compared(TWO_CORES, &times?)
}

fn print_compared(metric: Metric, loads: &[(Load, Compared)]) -> Result<()> {
    let rows = |(load, times): &(Load, Compared)| rows::compared(*load, metric, times);
    print(loads.iter().flat_map(rows))
}

fn print(mut rows: impl Iterator<Item = Row>) -> Result<()> {
    rows.try_for_each(|row| {
        println!("{}", serde_json::to_string(&row)?);
        Ok(())
    })
}

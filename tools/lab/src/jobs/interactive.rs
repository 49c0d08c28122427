// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `lab shell` and `lab guest`: L1 with a person at its console.

use anyhow::{Context, Result};
use clap::Args;
use l1::job::Job;

use super::{find, verdict, Lab};
use crate::boot::{reason, Emulated};
use crate::qemu::{Console, Machine};

/// Which guest.
#[derive(Args)]
pub(crate) struct Arguments {
    /// How its disk is dispatched: a scenario of `lab test`
    #[arg(default_value = "ioregion")]
    scenario: String,
}

/// A shell in L1.
///
/// # Errors
///
/// QEMU cannot be started.
pub(crate) fn shell(lab: &Lab) -> Result<bool> {
    attend(lab, &Job::Shell, 2)
}

/// The console of an L2 guest.
///
/// # Errors
///
/// There is no such scenario, or QEMU cannot be started.
pub(crate) fn guest(lab: &Lab, arguments: &Arguments) -> Result<bool> {
    let scenario = find(&arguments.scenario)?;
    attend(lab, &Job::Guest(scenario.name.to_owned()), scenario.cpus)
}

fn attend(lab: &Lab, job: &Job, cpus: u32) -> Result<bool> {
    let directory = lab.places.out("shell")?;
    let machine = Machine {
        console: Console::Terminal,
        ..lab.machine(job, cpus, &directory)
    };
    eprintln!("Ctrl-A X ends QEMU.");
    let status = machine.command()?.status().context("starting QEMU")?;
    let reason = reason(&machine)?;
    Ok(verdict(reason.as_slice()) && status.success())
}

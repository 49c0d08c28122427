// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `lab exec`: one program in L1.

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use clap::Args;
use l1::job::Job;

use super::{verdict, Lab};
use crate::boot::boot;
use crate::bpftrace;

/// Which program, and in what L1.
#[derive(Args)]
pub(crate) struct Arguments {
    /// CPUs of L1
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// Seconds after which L1 is killed
    #[arg(long, default_value_t = 120)]
    limit: u64,
    /// Make time a count of instructions, on one CPU
    #[arg(long)]
    deterministic: bool,
    /// With this machine's bpftrace and our scripts for it, in /share/bpftrace
    #[arg(long)]
    bpftrace: bool,
    /// The program, as L1 sees it, and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Runs it and prints its output.
///
/// # Errors
///
/// L1 cannot be booted.
pub(crate) fn run(lab: &Lab, arguments: &Arguments) -> Result<bool> {
    for word in &arguments.words {
        ensure!(
            !word.contains([',', ' ']),
            "{word:?}: a blank or comma cannot pass through L1's kernel command line"
        );
    }
    let directory = lab.places.out("exec")?;
    let job = Job::Program(arguments.words.clone());
    let with_bpftrace = match arguments.bpftrace {
        true => Some(bpftrace::images(&lab.places, &lab.images)?.context("bpftrace is missing")?),
        false => None,
    };
    let mut machine = lab.machine(&job, arguments.cpus, &directory);
    if let Some(images) = &with_bpftrace {
        machine.images = images;
    }
    if arguments.deterministic {
        machine.deterministic = true;
        machine.cpus = 1;
    }
    let limit = Duration::from_secs(arguments.limit);
    let mut outcome = boot(&machine, &arguments.words[0], limit)?;
    for lines in outcome.lines.values() {
        for line in lines {
            println!("{line}");
        }
    }
    if !outcome.succeeded() && outcome.failures.is_empty() {
        outcome
            .failures
            .push(format!("{} failed", arguments.words[0]));
    }
    Ok(verdict(&outcome.failures))
}

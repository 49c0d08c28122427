// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The init of L1: mounts, loads the modules, runs the job that the kernel
//! command line names, sends what happens as [`l1::event::Event`]s and powers off.
#![forbid(unsafe_code)]

mod disk_root;
mod guest;
mod host;
mod interactive;
mod leaks;
mod program;
mod results;
mod scenarios;
mod tap;
mod tracer;
mod traffic;

use std::fs;

use anyhow::{anyhow, Context, Result};
use l1::event::Event;
use l1::job::{Job, SPARE};
use rustix::system::{reboot, RebootCommand};

use results::Results;

fn main() {
    // Without a results channel the console is all there is.
    if let Err(error) = life() {
        eprintln!("l1-init: {error:#}");
    }
    if disk_root::is_handed_over() {
        if let Err(error) = disk_root::leave() {
            eprintln!("l1-init: {error:#}");
        }
    }
    if let Err(error) = reboot(RebootCommand::PowerOff) {
        eprintln!("l1-init: power-off: {error}");
    }
}

fn life() -> Result<()> {
    if !disk_root::is_handed_over() {
        host::mount_all()?;
        disk_root::enter()?;
    }
    let cmdline = fs::read_to_string("/proc/cmdline").context("/proc/cmdline")?;
    if cmdline.split_whitespace().any(|word| word == SPARE) {
        host::spare_first_cpu()?;
    }
    let results = Results::open()?;
    results.send(&Event::Up)?;
    let (status, reason) = match work(&cmdline, &results) {
        Ok(status) => (status, None),
        Err(error) => (1, Some(format!("{error:#}"))),
    };
    results.send(&Event::End { status, reason })?;
    results.drain()
}

/// Runs the job and looks at what it left; its exit status.
fn work(cmdline: &str, results: &Results) -> Result<i32> {
    host::load_modules(results)?;
    let _kept = host::idle_vm()?;
    let status = match Job::from_cmdline(cmdline).map_err(|error| anyhow!(error))? {
        Job::Program(words) => program::run(&words, results),
        Job::Scenarios(names) => scenarios::run(&names, results),
        Job::Series(series) => traffic::run(&series, results),
        Job::Shell => interactive::shell(),
        Job::Guest(name) => interactive::guest(&name, results),
    }?;
    leaks::expect_none(results)?;
    Ok(status)
}

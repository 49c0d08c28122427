// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The system sleeps and wakes up while there is work.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{ensure, Context, Result};
use fe_tests::plan::{self, Kind, Machine};
use fe_tests::wire::mac;
use module_tests::verdict::Skip;

use super::wire::{ends, Numbered};
use super::{open, stress};
use crate::driver::{tell, Module, Observation};
use fe_tests::network::{stream, Device};

/// Which part of falling asleep is left out: the last one, so that nobody has to wake us. Devices
/// are in their lowest state then.
const TEST: &str = "/sys/power/pm_test";
const LEFT_OUT: &str = "platform";

/// Seconds that the kernel waits before it wakes up from such a test.
const DELAY: &str = "/sys/module/suspend/parameters/pm_test_delay";

/// To the kernel, `freeze` is the sleep in which only devices sleep.
const STATE: &str = "/sys/power/state";

/// Sleeps that are worth the name.
const FEWEST: u64 = 3;

/// Disks that work meanwhile, and what each does.
const DISKS: usize = 2;
const ROUNDS: u64 = 40;

/// Bytes of a stream that is under way for a while.
const LONG: usize = 2 << 20;

/// All devices are reset and set up again under work, of which nothing is lost.
pub(super) fn run(machine: &Machine, _module: &Module) -> Result<()> {
    prepare()?;
    let disks: Vec<&plan::Disk> = machine
        .disks
        .iter()
        .filter(|disk| disk.kind == Kind::Plain)
        .take(DISKS)
        .collect();
    let mut work: Vec<Box<dyn Fn() -> Result<()> + Send + Sync>> = Vec::new();
    let mut devices = Vec::new();
    for plan in disks {
        devices.push(open(plan)?.device()?);
        work.push(Box::new(move || stress::exercise(&open(plan)?, ROUNDS)));
    }
    for wire in machine.wires.iter().enumerate().take(1) {
        devices.push(Device::find(&mac(wire.0, 0))?.parent()?);
        work.push(Box::new(move || carry(wire)));
    }
    let observations = devices.iter().map(|name| Observation::of(name));
    let observations: Vec<Observation> = observations.collect::<Result<_>>()?;
    let slept = sleep_while(&work, &observations)?;
    for (observation, device) in observations.iter().zip(&devices) {
        let counted = observation.sum("sleeps")?;
        ensure!(
            slept >= FEWEST && counted == slept,
            "{device} slept {counted} times, want {slept}"
        );
    }
    Ok(())
}

fn prepare() -> Result<()> {
    if !Path::new(TEST).exists() {
        return Err(Skip("the kernel cannot test sleep".to_owned()).into());
    }
    let levels = fs::read_to_string(TEST).context(TEST)?;
    ensure!(levels.contains(LEFT_OUT), "no {LEFT_OUT} in {levels}");
    tell(TEST, LEFT_OUT)?;
    tell(DELAY, "0")
}

/// Sleeps again and again until the work is done, and [`FEWEST`] times at least; how often. Each time
/// these devices are to be reset.
fn sleep_while(
    work: &[Box<dyn Fn() -> Result<()> + Send + Sync>],
    observations: &[Observation],
) -> Result<u64> {
    let under_way = AtomicBool::new(true);
    thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            let mut slept = 0;
            while slept < FEWEST || under_way.load(Ordering::Acquire) {
                sleep(observations)?;
                slept += 1;
            }
            Ok(slept)
        });
        let workers: Vec<_> = work.iter().map(|work| scope.spawn(work)).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, Result<()>>| {
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        // All of them, before one that failed is told of.
        let results: Vec<Result<()>> = workers.into_iter().map(join).collect();
        under_way.store(false, Ordering::Release);
        let slept = sleeper
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        results.into_iter().collect::<Result<()>>().and(slept)
    })
}

/// Sleeps once. A reset that was wished for before comes before or afterwards.
fn sleep(observations: &[Observation]) -> Result<()> {
    let before = observations.iter().map(Observation::resets);
    let before: Vec<u64> = before.collect::<Result<_>>()?;
    for observation in observations {
        observation.reset()?;
    }
    tell(STATE, "freeze")?;
    for (observation, before) in observations.iter().zip(before) {
        while observation.resets()? == before {
            thread::yield_now();
        }
    }
    Ok(())
}

/// Packets that are under way may be lost, but not what streams send.
fn carry(wire: Numbered<'_>) -> Result<()> {
    let [left, right] = ends(wire)?;
    stream(&left, &right, LONG)
}

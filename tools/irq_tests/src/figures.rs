// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Figures: what a device's interrupt costs, by how it is delivered.

use std::path::Path;

use anyhow::{ensure, Context, Result};
use exitless_vectors::uapi::EXITLESS_DELIVERY_ONLY;

use crate::asker::timestamp;
use crate::guest::{ask_for, start};
use crate::modules;
use crate::scene::Scene;

/// Interrupts of a measurement.
const COUNT: u32 = 1000;

/// The same for a small difference, which a tick of the timer more or less is not to change.
const UNARMED: u32 = 10_000;
const REPEATS: u32 = 3;

/// Cases, and the flags that the interrupt is armed with, if it is.
const CASES: [(&str, Option<u32>); 3] = [
    ("raw-stock", None),
    ("raw-delivery-only", Some(EXITLESS_DELIVERY_ONLY)),
    ("raw-exitless", Some(0)),
];

/// Measures all cases and prints a JSON object for each figure. Loads exitless.ko on its way.
pub(crate) fn print(module: &Path) -> Result<()> {
    unarmed_extra(module)?;
    for (case, flags) in CASES {
        let (exits, instructions) = with_flags(flags)?;
        row(case, "exits-per-1000", exits as f64);
        row(case, "instructions", instructions as f64 / f64::from(COUNT));
    }
    Ok(())
}

/// What a VM that has nothing to do with it pays for the module.
fn unarmed_extra(module: &Path) -> Result<()> {
    // L1 has just booted, and does things of which it has fewer later.
    unarmed()?;
    modules::load(module)?;
    let with = unarmed()?;
    modules::unload().context("unloading exitless.ko")?;
    let extra = with as f64 - unarmed()? as f64;
    modules::load(module)?;
    row("unarmed-extra", "instructions", extra / f64::from(UNARMED));
    Ok(())
}

/// Instructions of [`UNARMED`] interrupts: the least of some, as what else L1 does meanwhile only adds.
fn unarmed() -> Result<u64> {
    let once = |_| Ok(measure(&mut scene(UNARMED)?, UNARMED)?.1);
    let all = (0..REPEATS).map(once).collect::<Result<Vec<_>>>()?;
    all.into_iter().min().context("no measurement")
}

fn with_flags(flags: Option<u32>) -> Result<(u64, u64)> {
    let mut scene = scene(COUNT)?;
    let exitless = scene.attach()?;
    if let Some(flags) = flags {
        scene.arm(&exitless, flags)?;
    }
    measure(&mut scene, COUNT)
}

/// A guest that is about to ask for so many interrupts.
fn scene(count: u32) -> Result<Scene> {
    let mut program = start();
    ask_for(&mut program, count);
    Scene::new(&program)
}

/// Exits and instructions of that. Instructions are those of the whole machine, from one entry of the
/// vCPU to its exit, if the time-stamp counter counts them.
fn measure(scene: &mut Scene, count: u32) -> Result<(u64, u64)> {
    let before = timestamp();
    let exits = scene.exits()?;
    let instructions = timestamp() - before;
    let seen = scene.seen()?;
    ensure!(seen == u64::from(count), "{seen} interrupts of {count}");
    Ok((exits.all, instructions))
}

pub(crate) fn row(case: &str, metric: &str, value: f64) {
    println!(r#"{{"suite":"irq","case":"{case}","metric":"{metric}","unit":"1","value":{value}}}"#);
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Figures: what a device's interrupt costs, by how it is delivered.

use anyhow::{ensure, Result};
use exitless_vectors::uapi::EXITLESS_DELIVERY_ONLY;

use crate::asker::timestamp;
use crate::guest::{ask_for, start};
use crate::scene::Scene;

/// Interrupts of a measurement.
const COUNT: u32 = 1000;

/// Cases, and the flags that the interrupt is armed with, if it is.
const CASES: [(&str, Option<u32>); 3] = [
    ("raw-stock", None),
    ("raw-delivery-only", Some(EXITLESS_DELIVERY_ONLY)),
    ("raw-exitless", Some(0)),
];

/// Measures all cases and prints a JSON object for each figure.
pub(crate) fn print() -> Result<()> {
    for (case, flags) in CASES {
        let (exits, instructions) = measure(flags)?;
        row(case, "exits-per-1000", exits as f64);
        row(case, "instructions", instructions as f64 / f64::from(COUNT));
    }
    Ok(())
}

/// Exits and instructions of as many interrupts. Instructions are those of the whole machine, from
/// one entry of the vCPU to its exit, if the time-stamp counter counts them.
fn measure(flags: Option<u32>) -> Result<(u64, u64)> {
    let mut program = start();
    ask_for(&mut program, COUNT);
    let mut scene = Scene::new(&program)?;
    let exitless = scene.attach()?;
    if let Some(flags) = flags {
        scene.arm(&exitless, flags)?;
    }
    let before = timestamp();
    let exits = scene.exits()?;
    let instructions = timestamp() - before;
    let seen = scene.seen()?;
    ensure!(seen == u64::from(COUNT), "{seen} interrupts of {COUNT}");
    Ok((exits.all, instructions))
}

pub(crate) fn row(case: &str, metric: &str, value: f64) {
    println!(r#"{{"suite":"irq","case":"{case}","metric":"{metric}","unit":"1","value":{value}}}"#);
}

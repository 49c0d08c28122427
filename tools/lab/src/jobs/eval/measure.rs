// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! One guest: booted, or found to have been measured already.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use l1::job::Job;
use l1::series::Measured;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::matrix::Guest;
use super::row::{Report, Row};
use crate::boot::{boot, Outcome};
use crate::jobs::Lab;
use crate::out;
use crate::progress::print;
use crate::qemu::{Hardware, Machine, Program};

const LIMIT: Duration = Duration::from_secs(1200);

/// With `-icount`, QEMU cannot emulate the timer of a local APIC in x2APIC mode: it ends itself with
/// "Bad icount read".
const NO_APIC_TIMER: &str = "nolapic_timer";

/// What was measured of a guest, as it came.
#[derive(Serialize, Deserialize)]
struct Raw {
    /// What it was measured with: one that is measured with something else is measured again.
    inputs: String,
    loads: Vec<Measured>,
    vmm: serde_json::Value,
}

/// The rows of one guest. What is measured is in `raw` at this place below `out`.
///
/// # Errors
///
/// The guest did not come to its end, or its kernel log has a report.
pub(super) fn guest(lab: &Lab, guest: &Guest, place: &str, again: bool) -> Result<Vec<Row>> {
    let directory = lab.places.out(&format!("{place}/raw"))?;
    let path = directory.join(format!("{}.json", guest.name));
    let inputs = inputs(lab, guest)?;
    let raw = match known(&path, &inputs).filter(|_| !again) {
        Some(raw) => {
            print(&format!("{} is known", guest.name));
            raw
        }
        None => {
            let raw = measured(lab, guest, place, inputs)?;
            out::write(&path, &serde_json::to_string_pretty(&raw)?)?;
            raw
        }
    };
    rows(guest, &raw)
}

fn known(path: &Path, inputs: &str) -> Option<Raw> {
    let raw: Raw = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    (raw.inputs == inputs).then_some(raw)
}

/// What the results come from: the series, the kernel, and all that L1 is made of.
fn inputs(lab: &Lab, guest: &Guest) -> Result<String> {
    let kernel = lab.images.kernel.canonicalize().context("the kernel")?;
    let stamp = lab.images.initramfs.with_extension("stamp");
    let stamp = fs::read(&stamp).with_context(|| stamp.display().to_string())?;
    let stamp = l1::digest::hex(&Sha256::digest(&stamp));
    Ok(format!("{} {} {stamp}", guest.series, kernel.display()))
}

fn measured(lab: &Lab, guest: &Guest, place: &str, inputs: String) -> Result<Raw> {
    let directory = lab.places.out(&format!("{place}/boots/{}", guest.name))?;
    let job = Job::Series(guest.series.clone());
    let hardware = Hardware {
        machine: Hardware::PLAIN.machine,
        before: Vec::new(),
        arguments: Vec::new(),
        cmdline: NO_APIC_TIMER.to_owned(),
    };
    let qemu = Program::mended(&lab.places)?;
    let machine = Machine {
        qemu: &qemu,
        hardware: &hardware,
        deterministic: true,
        ..lab.machine(&job, 1, &directory)
    };
    let outcome = boot(&machine, &guest.name, LIMIT)?;
    ensure!(outcome.failures.is_empty(), outcome.failures.join("; "));
    Ok(Raw {
        inputs,
        loads: loads(&outcome)?,
        vmm: serde_json::from_str(&outcome.stream("series.vmm-report").concat())?,
    })
}

fn loads(outcome: &Outcome) -> Result<Vec<Measured>> {
    let lines = outcome.stream("series").iter();
    let loads = lines.map(|line| serde_json::from_str(line).context("a load"));
    loads.collect()
}

fn rows(guest: &Guest, raw: &Raw) -> Result<Vec<Row>> {
    let series = &guest.series;
    let expected = series.sizes.len() * (series.rates.len() + 1);
    ensure!(
        raw.loads.len() == expected,
        "{} of {expected} loads were measured",
        raw.loads.len()
    );
    let report: Report = serde_json::from_value(raw.vmm.clone()).context("the VMM's report")?;
    let row = |load| Row::of(guest, load, &report).context("the VMM did not see all marks");
    let rows: Vec<Row> = raw.loads.iter().map(row).collect::<Result<_>>()?;
    let broken = broken(guest, &rows);
    ensure!(broken.is_none(), broken.unwrap_or_default());
    Ok(rows)
}

/// What is not as promised: loss without a place, loss below capacity, or a stall that is not found where
/// the device makes it.
fn broken(guest: &Guest, rows: &[Row]) -> Option<String> {
    let losing = rows
        .iter()
        .find(|row| row.is_below_capacity() && row.lost() > 0);
    match (losing, &guest.stalls) {
        (Some(row), None) => Some(format!("{} lost: {:?}", row.lost(), row.loss)),
        (None, Some(place)) => Some(format!("nothing is lost, so there is no {place}")),
        // What a queue has kept comes out in a later load: only the first one is judged.
        (Some(row), Some(place)) if row.loss.stall() != Some(place) || !row.is_explained() => {
            Some(format!("no {place}, but {:?}", row.loss))
        }
        (Some(_), Some(_)) => None,
        (None, None) => {
            let row = rows.iter().find(|row| !row.is_explained());
            row.map(|row| format!("{} lost, explained are {:?}", row.lost(), row.loss))
        }
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Figures: what a device's interrupt costs Linux, on L1 itself and in a guest.

use std::path::Path;

use anyhow::{ensure, Result};

use crate::asker::{Answer, Asker};
use crate::figures::row;
use crate::linux::Guest;
use crate::{edu, modules, pci};

/// Interrupts of the shorter and of the longer measurement. What the longer one takes more are
/// interrupts and nothing else.
const COUNTS: [u32; 2] = [1000, 11_000];

/// QEMU under `-icount` cannot emulate the timer of a local APIC in x2APIC mode, and has been seen to
/// interrupt nested guests wrongly with HPETs.
const CMDLINE: &str = "nolapic_timer hpet=disable";

/// How a guest's interrupts are delivered.
struct Case {
    name: &'static str,
    /// `shunt-irq` arms them with these options, if it does.
    armed: Option<&'static [&'static str]>,
    counts: [u32; 2],
}

const CASES: [Case; 2] = [
    Case {
        name: "linux-exitless",
        armed: Some(&["--pin", "0", "--unwatched"]),
        counts: COUNTS,
    },
    Case {
        name: "linux-delivery-only",
        armed: Some(&["--pin", "0", "--unwatched", "--delivery-only"]),
        counts: COUNTS,
    },
];

/// What KVM injects, QEMU may deliver twice under `-icount`: where the time until a timer's next
/// interrupt ends between VMRUN and the next exit. Few interrupts make that unlikely.
const STOCK: Case = Case {
    name: "linux-stock",
    armed: None,
    counts: [100, 1100],
};

/// Measures all cases and prints a JSON object for each figure. Loads exitless.ko.
pub(crate) fn print(module: &Path) -> Result<()> {
    instructions("linux-baremetal", COUNTS, on_l1(module)?);
    modules::load(module)?;
    let mut guest = Guest::start(CMDLINE)?;
    for case in CASES {
        measure(&mut guest, &case)?;
    }
    if let Err(error) = measure(&mut guest, &STOCK) {
        eprintln!("no figures of {}: {error:#}", STOCK.name);
    }
    Ok(())
}

fn measure(guest: &mut Guest, case: &Case) -> Result<()> {
    let arming = case.armed.map(|options| guest.arm(options)).transpose()?;
    let [short, long] = case.counts;
    guest.ask(short)?;
    let costs = [guest.cost(short)?, guest.cost(long)?];
    if let Some(arming) = arming {
        arming.end()?;
    }
    instructions(case.name, case.counts, costs.map(|cost| cost.answer));
    let [fewer, more] = costs.map(|cost| cost.exits() as f64 * 1000.0);
    per_interrupt(case.name, "exits-per-1000", case.counts, more - fewer);
    let [fewer, more] = costs.map(|cost| cost.answer.ticks as f64 * 1000.0);
    per_interrupt(case.name, "ticks-per-1000", case.counts, more - fewer);
    Ok(())
}

/// On L1 itself, whose device is afterwards without a driver.
fn on_l1(module: &Path) -> Result<[Answer; 2]> {
    modules::load_driver(module)?;
    let asker = Asker::find()?;
    let [short, long] = COUNTS;
    asker.ask(short)?;
    let answers = [asker.ask(short)?, asker.ask(long)?];
    for (answer, count) in answers.iter().zip(COUNTS) {
        ensure!(answer.seen == u64::from(count), "{answer:?} of {count}");
    }
    drop(asker);
    pci::take_back(&pci::find(edu::ID.0, edu::ID.1, 0)?)?;
    Ok(answers)
}

fn instructions(case: &str, counts: [u32; 2], [short, long]: [Answer; 2]) {
    let more = long.timestamps as f64 - short.timestamps as f64;
    per_interrupt(case, "instructions", counts, more);
}

fn per_interrupt(case: &str, metric: &str, [short, long]: [u32; 2], more: f64) {
    row(case, metric, more / f64::from(long - short));
}

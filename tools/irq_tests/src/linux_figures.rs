// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Figures: what a device's interrupt costs Linux, on L1 itself and in a guest.

use std::path::Path;

use anyhow::{ensure, Result};

use crate::asker::{Answer, Asker};
use crate::figures::row;
use crate::linux::{Guest, Vmm};
use crate::{edu, modules, pci};

/// Interrupts of the shorter and of the longer measurement. What the longer one takes more are
/// interrupts and nothing else.
const SHORT: u32 = 1000;
const LONG: u32 = 11_000;

/// QEMU under `-icount` cannot emulate the timer of a local APIC in x2APIC mode, and has been seen to
/// interrupt nested guests wrongly with HPETs.
const CMDLINE: &str = "nolapic_timer hpet=disable";

/// How a guest's interrupts are delivered, and the options with which `shunt-irq` arms them.
///
/// There is none without it: what KVM injects, QEMU delivers twice now and then under `-icount`, and
/// the guest dies or hangs.
const CASES: [(&str, &[&str]); 2] = [
    ("linux-exitless", &["--pin", "0", "--unwatched"]),
    (
        "linux-delivery-only",
        &["--pin", "0", "--unwatched", "--delivery-only"],
    ),
];

/// Measures all cases and prints a JSON object for each figure. Loads exitless.ko.
pub(crate) fn print(module: &Path) -> Result<()> {
    instructions("linux-baremetal", on_l1(module)?);
    modules::load(module)?;
    let mut guest = Guest::start(Vmm::Qemu, CMDLINE)?;
    for (case, options) in CASES {
        measure(&mut guest, case, options)?;
    }
    Ok(())
}

fn measure(guest: &mut Guest, case: &str, options: &[&str]) -> Result<()> {
    let arming = guest.arm(options)?;
    guest.ask(SHORT)?;
    let costs = [guest.cost(SHORT)?, guest.cost(LONG)?];
    arming.end()?;
    instructions(case, costs.map(|cost| cost.answer));
    let [fewer, more] = costs.map(|cost| cost.exits() as f64 * 1000.0);
    per_interrupt(case, "exits-per-1000", more - fewer);
    let [fewer, more] = costs.map(|cost| cost.answer.ticks as f64 * 1000.0);
    per_interrupt(case, "ticks-per-1000", more - fewer);
    Ok(())
}

/// On L1 itself, whose device is afterwards without a driver.
fn on_l1(module: &Path) -> Result<[Answer; 2]> {
    modules::load_driver(module)?;
    let asker = Asker::find()?;
    asker.ask(SHORT)?;
    let answers = [asker.ask(SHORT)?, asker.ask(LONG)?];
    for (answer, count) in answers.iter().zip([SHORT, LONG]) {
        ensure!(answer.seen == u64::from(count), "{answer:?} of {count}");
    }
    drop(asker);
    pci::take_back(&pci::find(edu::ID.0, edu::ID.1, 0)?)?;
    Ok(answers)
}

fn instructions(case: &str, [short, long]: [Answer; 2]) {
    let more = long.timestamps as f64 - short.timestamps as f64;
    per_interrupt(case, "instructions", more);
}

fn per_interrupt(case: &str, metric: &str, more: f64) {
    row(case, metric, more / f64::from(LONG - SHORT));
}

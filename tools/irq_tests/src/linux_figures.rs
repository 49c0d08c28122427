// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Figures: what a device's interrupt costs Linux, on L1 itself and in a guest.

use std::path::Path;
use std::time::Duration;

use anyhow::{ensure, Result};

use crate::asker::{Answer, Asker};
use crate::figures::row;
use crate::linux::{Cost, Guest, Vmm};
use crate::{edu, modules, pci};

/// Interrupts of the shorter and of the longer measurement. What the longer one takes more are
/// interrupts and nothing else.
const SHORT: u32 = 1000;
const LONG: u32 = 11_000;

/// Interrupts of the two measurements of injected ones: the fewer, the likelier the guest survives.
const FEW: u32 = 100;
const MORE: u32 = 1100;

/// Options with which `shunt-irq` arms interrupts.
pub(crate) const EXITLESS: &[&str] = &["--pin", "0", "--unwatched"];
pub(crate) const DELIVERY_ONLY: &[&str] = &["--pin", "0", "--unwatched", "--delivery-only"];

/// Of L1's time, after which a guest has died. It works for much less.
const LIMIT: Duration = Duration::from_secs(2);

/// Measures all cases and prints a JSON object for each figure. Loads exitless.ko.
pub(crate) fn print(module: &Path) -> Result<()> {
    let [short, long] = on_l1(module)?.map(|answer| answer.timestamps as f64);
    row(
        "linux-baremetal",
        "instructions",
        (long - short) / f64::from(LONG - SHORT),
    );
    modules::load(module)?;
    let mut guest = Guest::with_edu(Vmm::Qemu)?;
    for (case, options) in [
        ("linux-exitless", EXITLESS),
        ("linux-delivery-only", DELIVERY_ONLY),
    ] {
        let arming = guest.arm(options)?;
        measure(&mut guest, case, [SHORT, LONG])?;
        arming.end()?;
    }
    unless_it_dies(&mut guest, |guest| {
        measure(guest, "linux-stock", [FEW, MORE])
    })
}

/// Measures something with interrupts that KVM injects. QEMU under `-icount` delivers some of them twice,
/// which a guest may not survive: then figures are missing, and the last line tells so.
pub(crate) fn unless_it_dies(
    guest: &mut Guest,
    measure: impl FnOnce(&mut Guest) -> Result<()>,
) -> Result<()> {
    if let Err(error) = guest.within(LIMIT, measure) {
        eprintln!("no figures of injected interrupts, or not all: {error:#}");
    }
    Ok(())
}

fn measure(guest: &mut Guest, case: &str, [short, long]: [u32; 2]) -> Result<()> {
    guest.cost(short)?;
    let costs = [guest.cost(short)?, guest.cost(long)?];
    let per_interrupt = |metric: &str, of: fn(&Cost) -> f64| {
        let more = of(&costs[1]) - of(&costs[0]);
        row(case, metric, more / f64::from(long - short));
    };
    per_interrupt("instructions", |cost| cost.answer.timestamps as f64);
    per_interrupt("exits-per-1000", |cost| cost.exits() as f64 * 1000.0);
    per_interrupt("ticks-per-1000", |cost| cost.answer.ticks as f64 * 1000.0);
    // More than 1000: QEMU has delivered some twice.
    per_interrupt("seen-per-1000", |cost| cost.answer.seen as f64 * 1000.0);
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

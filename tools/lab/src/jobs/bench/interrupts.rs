// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The suite `irq`: exits and instructions of an assigned device's interrupts.

use anyhow::Result;
use l1::job::Job;

use super::{parse, Row, LIMIT};
use crate::boot::boot;
use crate::images::Images;
use crate::jobs::{exitless, Lab};
use crate::other_vmm;
use crate::progress::print;
use crate::qemu::Machine;

/// With `-icount`, QEMU cannot emulate the timer of a local APIC in x2APIC mode: it ends itself with
/// "Bad icount read".
const NO_APIC_TIMER: &str = "nolapic_timer";

/// With an HPET, too, QEMU has been seen to hang L1 in its timer's interrupt while a Linux guest ran.
const NO_HPET: &str = "nolapic_timer hpet=disable";

/// Two deterministic boots, with raw guests and with a Linux guest: their rows and what was wrong.
pub(super) fn measure(lab: &Lab) -> Result<(Vec<Row>, Vec<String>)> {
    let (mut rows, mut failures) = rows(lab, &lab.images, "irq", &[], NO_APIC_TIMER)?;
    match other_vmm::missing() {
        Some(reason) => print(&format!("no figures of Linux guests: {reason}")),
        None => {
            let images = other_vmm::images(&lab.places, &lab.images)?;
            let (more, broken) = self::rows(lab, &images, "irq-linux", &["--linux"], NO_HPET)?;
            rows.extend(more);
            failures.extend(broken);
        }
    }
    Ok((rows, failures))
}

/// The figures of `irq_tests` with these words, in an L1 with these on its command line.
fn rows(
    lab: &Lab,
    images: &Images,
    name: &str,
    words: &[&str],
    cmdline: &str,
) -> Result<(Vec<Row>, Vec<String>)> {
    let directory = lab.places.out(&format!("bench/{name}"))?;
    let words = ["/bin/irq_tests", "--figures"].iter().chain(words);
    let job = Job::Program(words.map(|&word| word.to_owned()).collect());
    let mut hardware = exitless::hardware();
    hardware.cmdline = format!("{} {cmdline}", hardware.cmdline);
    let machine = Machine {
        deterministic: true,
        hardware: &hardware,
        images,
        ..lab.machine(&job, 1, &directory)
    };
    let outcome = boot(&machine, &format!("bench of interrupts, {name}"), LIMIT)?;
    let rows = parse(outcome.stream("irq_tests"))?;
    let mut failures = outcome.failures.clone();
    if !outcome.succeeded() && failures.is_empty() {
        failures.extend_from_slice(outcome.stream("irq_tests.stderr"));
        failures.push("the figures of interrupts failed".to_owned());
    }
    Ok((rows, failures))
}

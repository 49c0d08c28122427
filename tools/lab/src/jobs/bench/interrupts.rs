// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The suite `irq`: exits and instructions of an assigned device's interrupts.

use anyhow::Result;
use l1::job::Job;

use super::{parse, Row, LIMIT};
use crate::boot::boot;
use crate::jobs::{exitless, Lab};
use crate::qemu::Machine;

/// With `-icount`, QEMU cannot emulate the timer of a local APIC in x2APIC mode: it ends itself with
/// "Bad icount read".
const NO_APIC_TIMER: &str = "nolapic_timer";

/// One deterministic boot: its rows and what was wrong.
pub(super) fn measure(lab: &Lab) -> Result<(Vec<Row>, Vec<String>)> {
    let directory = lab.places.out("bench/irq")?;
    let words = [
        "/bin/irq_tests",
        "--figures",
        "--module",
        "/lib/modules/exitless.ko",
    ];
    let job = Job::Program(words.map(str::to_owned).to_vec());
    let mut hardware = exitless::hardware();
    hardware.cmdline = format!("{} {NO_APIC_TIMER}", hardware.cmdline);
    let machine = Machine {
        deterministic: true,
        hardware: &hardware,
        ..lab.machine(&job, 1, &directory)
    };
    let outcome = boot(&machine, "bench of interrupts", LIMIT)?;
    let rows = parse(outcome.stream("irq_tests"))?;
    let mut failures = outcome.failures.clone();
    if !outcome.succeeded() && failures.is_empty() {
        failures.extend_from_slice(outcome.stream("irq_tests.stderr"));
        failures.push("the figures of interrupts failed".to_owned());
    }
    Ok((rows, failures))
}

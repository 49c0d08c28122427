// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! exitless.ko in L1, whose machine has an IOMMU and two of QEMU's `edu` devices to assign.

use std::time::Duration;

use anyhow::Result;
use l1::job::Job;

use super::test::whole;
use super::Lab;
use crate::boot::boot;
use crate::ktap::{self, Test};
use crate::qemu::{Hardware, Machine};

/// Seconds for all tests of a boot.
const LIMIT: u64 = 120;

/// The tests, with one CPU and with two.
///
/// # Errors
///
/// L1 cannot be booted.
pub(super) fn tests(lab: &Lab, slower: u64) -> Result<Vec<Test>> {
    let mut tests = Vec::new();
    for cpus in [1, 2] {
        tests.append(&mut with(lab, cpus, Duration::from_secs(slower * LIMIT))?);
    }
    Ok(tests)
}

fn with(lab: &Lab, cpus: u32, limit: Duration) -> Result<Vec<Test>> {
    let name = format!("exitless-{cpus}cpu");
    let directory = lab.places.out(&format!("test/{name}"))?;
    let words = ["/bin/irq_tests", "--module", "/lib/modules/exitless.ko"];
    let job = Job::Program(words.map(str::to_owned).to_vec());
    let hardware = hardware();
    let machine = Machine {
        hardware: &hardware,
        ..lab.machine(&job, cpus, &directory)
    };
    let outcome = boot(&machine, &name, limit)?;
    let mut tests = ktap::parse("output", outcome.stream("irq_tests"));
    tests.push(whole("boot", &outcome, &tests));
    for test in &mut tests {
        test.name = format!("{name}.{}", test.name);
    }
    Ok(tests)
}

/// Intel's IOMMU with AMD's processor: Linux 7.3 refuses to remap interrupts with AMD's as QEMU
/// emulates it.
pub(super) fn hardware() -> Hardware {
    let words = [
        "-device",
        "intel-iommu,intremap=on,caching-mode=on,eim=on",
        "-device",
        "edu",
        "-device",
        "edu",
    ];
    Hardware {
        machine: Hardware::PLAIN.machine,
        before: Vec::new(),
        arguments: words.map(str::to_owned).to_vec(),
        cmdline: "intel_iommu=on".to_owned(),
    }
}

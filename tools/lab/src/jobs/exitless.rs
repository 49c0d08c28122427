// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! exitless.ko in L1, whose machine has an IOMMU and two of QEMU's `edu` devices to assign.

use std::time::Duration;

use anyhow::Result;
use l1::job::Job;

use super::test::{skipped, whole, TOO_BIG};
use super::Lab;
use crate::bochs::{self, Bochs};
use crate::boot::{boot, Emulated};
use crate::images::Images;
use crate::ktap::{self, Test};
use crate::other_vmm;
use crate::qemu::{Hardware, Machine};

/// The machine with a Linux guest.
const LINUX: &str = "linux";

/// Seconds for all tests of a boot.
const LIMIT: u64 = 120;
/// Seconds for each of them.
const TEST_LIMIT: u64 = 60;

/// Seconds for all tests in Bochs.
const VMX_LIMIT: u64 = 300;

/// Seconds for all tests with a Linux guest.
const LINUX_LIMIT: u64 = 300;

/// The tests, with one CPU and with two, and with a Linux guest in a VMM that nobody here wrote.
///
/// # Errors
///
/// L1 cannot be booted.
pub(super) fn tests(lab: &Lab, slower: u64, only: Option<&str>) -> Result<Vec<Test>> {
    let is_wanted = |name: &str| only.is_none_or(|only| name == only);
    let mut tests = Vec::new();
    for (name, cpus) in [("1cpu", 1), ("2cpu", 2)] {
        if is_wanted(name) {
            let limit = Duration::from_secs(slower * LIMIT);
            let each = format!("--limit={}", slower * TEST_LIMIT);
            tests.append(&mut with(lab, &lab.images, cpus, name, &[&each], limit)?);
        }
    }
    if is_wanted(LINUX) {
        tests.append(&mut linux(lab, slower)?);
    }
    Ok(tests)
}

/// The tests with a Linux guest, whose VMM is this machine's QEMU.
fn linux(lab: &Lab, slower: u64) -> Result<Vec<Test>> {
    let slowly = (slower > 1).then(|| TOO_BIG.to_owned());
    if let Some(reason) = slowly.or_else(other_vmm::missing) {
        return Ok(vec![skipped(&format!("exitless-{LINUX}"), &reason)]);
    }
    let images = other_vmm::images(&lab.places, &lab.images)?;
    let limit = Duration::from_secs(LINUX_LIMIT);
    with(lab, &images, 2, LINUX, &["--linux"], limit)
}

/// The tests on a processor with VMX, as Bochs emulates it.
///
/// # Errors
///
/// L1 cannot be booted.
pub(super) fn vmx_tests(lab: &Lab) -> Result<Vec<Test>> {
    const NAME: &str = "exitless-vmx";
    let Some(home) = bochs::find(&lab.places) else {
        return Ok(vec![skipped(NAME, bochs::NONE)]);
    };
    let directory = lab.places.out(&format!("test/{NAME}"))?;
    let job = Job::Program(["/bin/irq_tests", "--hpet"].map(str::to_owned).to_vec());
    let machine = Bochs {
        home: &home,
        places: &lab.places,
        images: &bochs::images(&lab.places, &lab.images)?,
        job: &job,
        directory: &directory,
    };
    booted(&machine, NAME, Duration::from_secs(VMX_LIMIT))
}

/// The program `irq_tests` with these words, and its boot, as tests.
fn with(
    lab: &Lab,
    images: &Images,
    cpus: u32,
    name: &str,
    words: &[&str],
    limit: Duration,
) -> Result<Vec<Test>> {
    let name = format!("exitless-{name}");
    let directory = lab.places.out(&format!("test/{name}"))?;
    let words = ["/bin/irq_tests"].iter().chain(words);
    let job = Job::Program(words.map(|&word| word.to_owned()).collect());
    let hardware = hardware();
    let machine = Machine {
        hardware: &hardware,
        images,
        ..lab.machine(&job, cpus, &directory)
    };
    booted(&machine, &name, limit)
}

/// What `irq_tests` has said, and the boot, as tests.
fn booted(machine: &dyn Emulated, name: &str, limit: Duration) -> Result<Vec<Test>> {
    let outcome = boot(machine, name, limit)?;
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
        // A bus of its own can be reset.
        "-device",
        "pcie-root-port,id=below",
        "-device",
        "edu,bus=below",
    ];
    Hardware {
        machine: Hardware::PLAIN.machine,
        before: Vec::new(),
        arguments: words.map(str::to_owned).to_vec(),
        cmdline: "intel_iommu=on".to_owned(),
    }
}

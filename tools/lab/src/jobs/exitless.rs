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

/// The machine with a Linux guest, and the one with network interfaces.
const LINUX: &str = "linux";
const NIC: &str = "nic";

/// Seconds for all tests of a boot.
const LIMIT: u64 = 120;
/// Seconds for each of them.
const TEST_LIMIT: u64 = 60;

/// Seconds for all tests in Bochs.
const VMX_LIMIT: u64 = 300;

/// Seconds for all tests with Linux guests, and what the program is told of each of them: most boot one.
const LINUX_LIMIT: u64 = 600;
const LINUX_TEST_LIMIT: &str = "--limit=120";

/// A boot of `irq_tests`.
struct Tests<'a> {
    name: &'a str,
    images: &'a Images,
    /// QEMU's arguments for what is there to be assigned.
    devices: &'a [&'a str],
    cpus: u32,
    /// What the program is told.
    words: &'a [&'a str],
    limit: Duration,
}

/// The tests, with one CPU and with two, and with Linux guests, also in a VMM that nobody here wrote.
///
/// # Errors
///
/// L1 cannot be booted.
pub(super) fn tests(lab: &Lab, slower: u64, only: Option<&str>) -> Result<Vec<Test>> {
    let is_wanted = |name: &str| only.is_none_or(|only| name == only);
    let mut tests = Vec::new();
    for (name, cpus) in [("1cpu", 1), ("2cpu", 2)] {
        if is_wanted(name) {
            let each = format!("--limit={}", slower * TEST_LIMIT);
            let raw = Tests {
                name,
                images: &lab.images,
                devices: EDUS,
                cpus,
                words: &[&each],
                limit: Duration::from_secs(slower * LIMIT),
            };
            tests.append(&mut raw.run(lab)?);
        }
    }
    for (name, word, devices) in [(LINUX, "--linux", EDUS), (NIC, "--nic", NICS)] {
        if is_wanted(name) {
            tests.append(&mut linux(lab, slower, name, word, devices)?);
        }
    }
    Ok(tests)
}

/// The tests with Linux guests, in this machine's QEMU, too.
fn linux(lab: &Lab, slower: u64, name: &str, word: &str, devices: &[&str]) -> Result<Vec<Test>> {
    let slowly = (slower > 1).then(|| TOO_BIG.to_owned());
    if let Some(reason) = slowly.or_else(other_vmm::missing) {
        return Ok(vec![skipped(&format!("exitless-{name}"), &reason)]);
    }
    let tests = Tests {
        name,
        images: &other_vmm::images(&lab.places, &lab.images)?,
        devices,
        cpus: 2,
        words: &[word, LINUX_TEST_LIMIT],
        limit: Duration::from_secs(LINUX_LIMIT),
    };
    tests.run(lab)
}

impl Tests<'_> {
    /// The program's tests, and its boot as one more.
    fn run(&self, lab: &Lab) -> Result<Vec<Test>> {
        let name = format!("exitless-{}", self.name);
        let directory = lab.places.out(&format!("test/{name}"))?;
        let words = ["/bin/irq_tests"].iter().chain(self.words);
        let job = Job::Program(words.map(|&word| word.to_owned()).collect());
        let hardware = hardware(self.devices);
        let machine = Machine {
            hardware: &hardware,
            images: self.images,
            ..lab.machine(&job, self.cpus, &directory)
        };
        booted(&machine, &name, self.limit)
    }
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

/// Network interfaces to assign, each with a wire to another one, which stays L1's (`fe_tests::wire`).
const NICS: &[&str] = &[
    "-netdev",
    "hubport,id=w0e0,hubid=0",
    "-device",
    "virtio-net-pci,romfile=,netdev=w0e0,mac=52:54:00:00:00:00,disable-legacy=on,iommu_platform=on",
    "-netdev",
    "hubport,id=w1e0,hubid=1",
    "-device",
    "e1000e,romfile=,netdev=w1e0,mac=52:54:00:00:01:00",
    "-netdev",
    "hubport,id=w0e1,hubid=0",
    "-device",
    "virtio-net-pci,romfile=,netdev=w0e1,mac=52:54:00:00:00:01",
    "-netdev",
    "hubport,id=w1e1,hubid=1",
    "-device",
    "virtio-net-pci,romfile=,netdev=w1e1,mac=52:54:00:00:01:01",
];

/// Devices to assign, the second one on a bus of its own, which can be reset.
pub(super) const EDUS: &[&str] = &[
    "-device",
    "edu",
    "-device",
    "pcie-root-port,id=below",
    "-device",
    "edu,bus=below",
];

/// Intel's IOMMU with AMD's processor: Linux 7.3 refuses to remap interrupts with AMD's as QEMU
/// emulates it.
const IOMMU: [&str; 2] = ["-device", "intel-iommu,intremap=on,caching-mode=on,eim=on"];

/// A machine with an IOMMU and these devices.
pub(super) fn hardware(devices: &[&str]) -> Hardware {
    let words = IOMMU.iter().chain(devices);
    Hardware {
        machine: Hardware::PLAIN.machine,
        before: Vec::new(),
        arguments: words.map(|&word| word.to_owned()).collect(),
        cmdline: "intel_iommu=on".to_owned(),
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The suite `irq`: exits and instructions of an assigned device's interrupts, and of an assigned
//! network interface's traffic.

use anyhow::Result;
use l1::job::Job;

use super::{parse, traffic, Row, LIMIT};
use crate::boot::boot;
use crate::images::Images;
use crate::jobs::exitless::{self, EDUS};
use crate::jobs::Lab;
use crate::other_vmm;
use crate::out;
use crate::progress::print;
use crate::qemu::{Machine, Program};

/// A deterministic boot of `irq_tests`.
struct Boot {
    name: &'static str,
    /// What is there to be assigned.
    devices: &'static [&'static str],
    /// What the program is told.
    words: &'static [&'static str],
    /// For L1's kernel.
    ///
    /// With `-icount`, QEMU cannot emulate the timer of a local APIC in x2APIC mode: it ends itself
    /// with "Bad icount read". With an HPET, too, it has been seen to hang L1 in its timer's interrupt
    /// while a Linux guest ran.
    cmdline: &'static str,
}

/// With guests of a few instructions.
const RAW: Boot = Boot {
    name: "irq",
    devices: EDUS,
    words: &[],
    cmdline: "nolapic_timer",
};

/// With Linux guests, in a VMM that nobody here wrote.
const LINUX: [Boot; 2] = [
    Boot {
        name: "irq-linux",
        devices: EDUS,
        words: &["--linux"],
        cmdline: "nolapic_timer hpet=disable",
    },
    Boot {
        name: "irq-nic",
        devices: NIC,
        words: &["--nic"],
        // L1's own driver maps no memory, as a guest's does not.
        cmdline: "nolapic_timer hpet=disable iommu=pt",
    },
];

/// An interface whose other end QEMU itself is: it answers to pings, and swallows what comes to a port
/// of an address. The interface looks for packets a nanosecond after it was told of one, by L1's clock,
/// and not when a thread of QEMU's gets round to it.
const NIC: &[&str] = &[
    "-netdev",
    "user,id=net,restrict=on,guestfwd=tcp:10.0.2.100:9-chardev:sink",
    "-chardev",
    "null,id=sink",
    "-device",
    "virtio-net-pci,netdev=net,romfile=,disable-legacy=on,iommu_platform=on,\
     tx=timer,x-txtimer=1,ioeventfd=off",
];

/// All of them: their rows, and what was wrong.
pub(super) fn measure(lab: &Lab) -> Result<(Vec<Row>, Vec<String>)> {
    let (mut rows, mut failures) = RAW.measure(lab, &Program::mended(&lab.places)?, &lab.images)?;
    if let Some(reason) = other_vmm::missing() {
        print(&format!("no figures of Linux guests: {reason}"));
        return Ok((rows, failures));
    }
    let images = other_vmm::images(&lab.places, &lab.images)?;
    let mended = Program::mended(&lab.places)?;
    for boot in LINUX {
        let (more, broken) = boot.measure(lab, &mended, &images)?;
        rows.extend(more);
        failures.extend(broken);
    }
    failures.extend(traffic::broken(&rows));
    let path = lab.places.out("bench")?.join("nic.svg");
    out::write(&path, &traffic::chart(&rows).svg())?;
    Ok((rows, failures))
}

impl Boot {
    fn measure(
        &self,
        lab: &Lab,
        qemu: &Program,
        images: &Images,
    ) -> Result<(Vec<Row>, Vec<String>)> {
        let directory = lab.places.out(&format!("bench/{}", self.name))?;
        let words = ["/bin/irq_tests", "--figures"].iter().chain(self.words);
        let job = Job::Program(words.map(|&word| word.to_owned()).collect());
        let mut hardware = exitless::hardware(self.devices);
        hardware.cmdline = format!("{} {}", hardware.cmdline, self.cmdline);
        let machine = Machine {
            qemu,
            deterministic: true,
            hardware: &hardware,
            images,
            ..lab.machine(&job, 1, &directory)
        };
        let outcome = boot(
            &machine,
            &format!("bench of interrupts, {}", self.name),
            LIMIT,
        )?;
        let rows = parse(outcome.stream("irq_tests"))?;
        let mut failures = outcome.failures.clone();
        let said = outcome.stream("irq_tests.stderr");
        if !outcome.succeeded() && failures.is_empty() {
            failures.extend_from_slice(said);
            failures.push("the figures of interrupts failed".to_owned());
        }
        let is_missing = |line: &&String| line.starts_with("no figures");
        said.iter().filter(is_missing).for_each(|line| print(line));
        Ok((rows, failures))
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The machines of the bench. A disk is first the kernel's own driver's and then ours; of a wire, each
//! driver has an end, the kernel's the first one.

use fe_tests::plan::Bus;
use serde::{Deserialize, Serialize};

/// Whose driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// The kernel's, in C.
    C,
    /// Ours.
    Rust,
}

impl Driver {
    /// Both, in the order of their work.
    pub const BOTH: [Self; 2] = [Self::C, Self::Rust];

    /// As the names of cases begin.
    pub fn name(self) -> &'static str {
        match self {
            Self::C => "c",
            Self::Rust => "rust",
        }
    }
}

/// What a device does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Reads of 4 KiB past the page cache, one at a time.
    ReadOne,
    /// Such reads, 32 at a time.
    ReadMany,
    /// Writes of 4 KiB past the page cache, each followed by a flush.
    WriteFlush,
    /// Sends of 18 bytes by UDP.
    Send,
    /// Receives of 1400 bytes by UDP, 32 of which are sent at a time.
    Receive,
    /// Sends of 64 bytes by UDP, each of which comes back.
    RoundTrip,
}

impl Work {
    /// Its name in cases.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadOne => "read-qd1",
            Self::ReadMany => "read-qd32",
            Self::WriteFlush => "write-flush",
            Self::Send => "tx18",
            Self::Receive => "rx1400",
            Self::RoundTrip => "rr64",
        }
    }
}

/// A machine.
#[derive(Debug)]
pub struct Machine {
    /// Its name, which is that of its cases, too: bus, format, and what is special.
    pub name: &'static str,
    /// How it has its device.
    pub bus: Bus,
    /// Properties of QEMU's device.
    pub properties: &'static str,
    /// What is not of bus and format there; names of cases have it at their end.
    pub suffix: &'static str,
    /// What its device is.
    pub kind: Kind,
    /// What that does.
    pub works: &'static [Work],
}

/// What there is to be driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A disk.
    Disk,
    /// Two network devices with a wire between them.
    Wire,
}

impl Kind {
    /// The suite of its cases.
    pub fn suite(self) -> &'static str {
        match self {
            Self::Disk => "fe-blk",
            Self::Wire => "fe-net",
        }
    }
}

impl Machine {
    /// The case of this driver and this work.
    pub fn case(&self, driver: Driver, work: &str) -> String {
        let (driver, suffix) = (driver.name(), self.suffix);
        let name = self.name.strip_suffix(suffix).unwrap_or(self.name);
        match self.kind {
            Kind::Disk => format!("{driver}-{name}-{work}{suffix}"),
            Kind::Wire => format!("{driver}-{name}-{work}"),
        }
    }
}

const OF_DISKS: &[Work] = &[Work::ReadOne, Work::ReadMany, Work::WriteFlush];
const OF_WIRES: &[Work] = &[Work::Send, Work::Receive, Work::RoundTrip];

const fn machine(name: &'static str, bus: Bus, properties: &'static str) -> Machine {
    Machine {
        name,
        bus,
        properties,
        suffix: "",
        kind: Kind::Disk,
        works: OF_DISKS,
    }
}

const fn wire(name: &'static str, bus: Bus, properties: &'static str) -> Machine {
    Machine {
        suffix: "-wire",
        kind: Kind::Wire,
        works: OF_WIRES,
        ..machine(name, bus, properties)
    }
}

const fn behind_an_iommu(name: &'static str, properties: &'static str) -> Machine {
    Machine {
        suffix: "-viommu",
        works: &[Work::ReadMany],
        ..machine(name, Bus::PciWithIommu, properties)
    }
}

/// All of them.
pub const MACHINES: &[Machine] = &[
    machine("pci-split", Bus::Pci, "packed=off,disable-legacy=on"),
    machine("pci-packed", Bus::Pci, "packed=on,disable-legacy=on"),
    machine("mmio-split", Bus::Mmio, "packed=off"),
    machine("mmio-packed", Bus::Mmio, "packed=on"),
    behind_an_iommu(
        "pci-split-viommu",
        "packed=off,disable-legacy=on,iommu_platform=on",
    ),
    behind_an_iommu(
        "pci-packed-viommu",
        "packed=on,disable-legacy=on,iommu_platform=on",
    ),
    wire("pci-split-wire", Bus::Pci, "packed=off,disable-legacy=on"),
    wire("pci-packed-wire", Bus::Pci, "packed=on,disable-legacy=on"),
];

/// The machine of this name.
pub fn machine_named(name: &str) -> Option<&'static Machine> {
    MACHINES.iter().find(|machine| machine.name == name)
}

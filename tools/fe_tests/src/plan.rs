// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The machines that the tests run on, and the disks of each.

pub mod rogues;
pub mod work;

use crate::wire::{Carrier, Wire};
use rogues::{rogue, Lie, Rogue, CULPRITS};

/// How a machine has its virtio devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// On PCI.
    Pci,
    /// On PCI, whose slots are not ACPI's but their ports' own.
    PciWithNativeSlots,
    /// On PCI, behind an IOMMU of Intel's.
    PciWithIommu,
    /// On virtio-mmio, which ACPI tells of.
    Mmio,
    /// On PCI, and its disks are in other processes.
    VhostUser,
}

/// What is special about a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Plain,
    /// It cannot be written.
    ReadOnly,
    /// It takes longer for a request than the driver waits.
    Slow,
    /// It goes in the middle of its work.
    Loose,
    /// L1's root file system is on it.
    Root,
    /// It is empty, and programs that others wrote work on it.
    Work,
    /// It is only there to come and go with the module.
    Fleeting,
}

/// One disk; its serial number is its name.
#[derive(Debug)]
pub struct Disk {
    /// Its name.
    pub name: &'static str,
    /// Properties of QEMU's device.
    pub properties: &'static str,
    /// What is special.
    pub kind: Kind,
    /// Interrupts that it has in `/proc/interrupts`, on two CPUs.
    pub interrupts: usize,
}

/// One machine.
#[derive(Debug)]
pub struct Machine {
    /// Its name.
    pub name: &'static str,
    /// How it has its devices.
    pub bus: Bus,
    /// Its CPUs.
    pub cpus: u32,
    /// Parameters of the module.
    pub parameters: &'static str,
    /// The kernel's own drivers get the devices first.
    pub has_other_drivers: bool,
    /// It sleeps in the middle of its work.
    pub sleeps: bool,
    /// Its disks, and one end of each wire, are in slots that QEMU takes them from.
    pub has_slots: bool,
    /// Its devices that lie.
    pub rogues: &'static [Rogue],
    /// Its disks.
    pub disks: &'static [Disk],
    /// Its wires.
    pub wires: &'static [Wire],
}

const fn disk(name: &'static str, properties: &'static str, interrupts: usize) -> Disk {
    Disk {
        name,
        properties,
        kind: Kind::Plain,
        interrupts,
    }
}

/// The disk, of another kind.
const fn of(kind: Kind, disk: Disk) -> Disk {
    Disk { kind, ..disk }
}

/// One vector for the configuration, and one for each queue: on two CPUs there are two.
const PER_QUEUE: usize = 3;

const PCI_DISKS: &[Disk] = &[
    disk("split", "packed=off", PER_QUEUE),
    disk("packed", "packed=on", PER_QUEUE),
    disk(
        "split-plain",
        "packed=off,event_idx=off,indirect_desc=off",
        PER_QUEUE,
    ),
    disk(
        "packed-plain",
        "packed=on,event_idx=off,indirect_desc=off",
        PER_QUEUE,
    ),
    disk(
        "split-direct",
        "packed=off,indirect_desc=off,queue-size=16",
        PER_QUEUE,
    ),
    disk(
        "packed-direct",
        "packed=on,indirect_desc=off,queue-size=16",
        PER_QUEUE,
    ),
    disk("split-small", "packed=off,queue-size=4", PER_QUEUE),
    disk("packed-small", "packed=on,queue-size=4", PER_QUEUE),
    disk("packed-large", "packed=on,queue-size=1024", PER_QUEUE),
    disk("one-queue", "packed=on,num-queues=1", 2),
    disk("shared", "packed=on,num-queues=4,vectors=2", 2),
    disk("pin", "packed=on,vectors=0", 1),
    disk("split-pin", "packed=off,vectors=0", 1),
    disk(
        "blocks-4k",
        "packed=on,logical_block_size=4096,physical_block_size=4096",
        PER_QUEUE,
    ),
    of(Kind::ReadOnly, disk("read-only", "packed=on", PER_QUEUE)),
];

const FLEETING: &[Disk] = &[
    of(Kind::Fleeting, disk("split", "packed=off", PER_QUEUE)),
    of(Kind::Fleeting, disk("packed", "packed=on", PER_QUEUE)),
];

const DISKS_IN_SLOTS: &[Disk] = &[
    of(Kind::Loose, disk("split", "packed=off", PER_QUEUE)),
    of(Kind::Loose, disk("packed", "packed=on", PER_QUEUE)),
];

const WIRES_IN_SLOTS: &[Wire] = &[
    wire("wire-split", "packed=off", PAIR),
    wire("wire-packed", "packed=on,event_idx=off", PAIR),
];

const IOMMU_DISKS: &[Disk] = &[
    disk(
        "split-iommu",
        "packed=off,iommu_platform=on,disable-legacy=on",
        PER_QUEUE,
    ),
    disk(
        "packed-iommu",
        "packed=on,iommu_platform=on,disable-legacy=on",
        PER_QUEUE,
    ),
    disk(
        "direct-iommu",
        "packed=on,iommu_platform=on,disable-legacy=on,indirect_desc=off",
        PER_QUEUE,
    ),
    // It reaches memory past the IOMMU.
    disk("physical", "packed=on", PER_QUEUE),
];

const MMIO_DISKS: &[Disk] = &[
    disk("mmio-split", "packed=off", 1),
    disk("mmio-packed", "packed=on", 1),
    disk(
        "mmio-plain",
        "packed=off,event_idx=off,indirect_desc=off",
        1,
    ),
    disk("mmio-queues", "packed=on,num-queues=4", 1),
    of(Kind::ReadOnly, disk("mmio-read-only", "packed=on", 1)),
];

const fn wire(name: &'static str, properties: &'static str, interrupts: usize) -> Wire {
    Wire {
        name,
        properties,
        carrier: Carrier::Hub,
        interrupts,
        max_mtu: MERGED,
    }
}

const fn over_bridge(wire: Wire, pairs: u32) -> Wire {
    Wire {
        carrier: Carrier::Bridge(pairs),
        max_mtu: 65535,
        ..wire
    }
}

const fn with_max_mtu(wire: Wire, max_mtu: u32) -> Wire {
    Wire { max_mtu, ..wire }
}

/// The largest MTU with receive buffers of half a page, eighteen of which make a packet.
const MERGED: u32 = 18 * 1664 - 30;
/// And with one of a page.
const SINGLE: u32 = 3712 - 30;

/// One vector for the configuration, and one for either queue.
const PAIR: usize = 3;

const PCI_WIRES: &[Wire] = &[
    wire("split", "packed=off", PAIR),
    wire("packed", "packed=on", PAIR),
    wire(
        "packed-plain",
        "packed=on,event_idx=off,indirect_desc=off",
        PAIR,
    ),
    with_max_mtu(
        wire("split-single", "packed=off,mrg_rxbuf=off", PAIR),
        SINGLE,
    ),
    wire("no-control", "packed=on,ctrl_vq=off", PAIR),
    wire("pin", "packed=on,vectors=0", 1),
];

const BRIDGED: &[Wire] = &[
    over_bridge(wire("bridge-split", "packed=off", PAIR), 1),
    over_bridge(wire("bridge-packed", "packed=on", PAIR), 1),
    over_bridge(wire("bridge-pairs", "packed=on,mq=on,vectors=6", 5), 2),
];

/// A machine with nothing on it.
const PLAIN: Machine = Machine {
    name: "",
    bus: Bus::Pci,
    cpus: 2,
    parameters: "",
    has_other_drivers: false,
    sleeps: false,
    has_slots: false,
    rogues: &[],
    disks: &[],
    wires: &[],
};

const MACHINES: &[Machine] = &[
    Machine {
        name: "pci",
        sleeps: true,
        disks: PCI_DISKS,
        ..PLAIN
    },
    Machine {
        name: "pci-1cpu",
        cpus: 1,
        parameters: "packed=0",
        disks: &[
            disk("split", "packed=on", 2),
            disk("split-pin", "vectors=0", 1),
        ],
        ..PLAIN
    },
    Machine {
        name: "iommu",
        bus: Bus::PciWithIommu,
        sleeps: true,
        disks: IOMMU_DISKS,
        ..PLAIN
    },
    Machine {
        name: "mmio",
        bus: Bus::Mmio,
        sleeps: true,
        disks: MMIO_DISKS,
        ..PLAIN
    },
    Machine {
        name: "slow",
        parameters: "timeout=1",
        disks: &[
            of(Kind::Slow, disk("slow-split", "packed=off", PER_QUEUE)),
            of(Kind::Slow, disk("slow-packed", "packed=on", PER_QUEUE)),
        ],
        ..PLAIN
    },
    Machine {
        name: "gone",
        parameters: "timeout=1",
        disks: &[
            of(Kind::Loose, disk("gone-split", "packed=off", PER_QUEUE)),
            of(Kind::Loose, disk("gone-packed", "packed=on", PER_QUEUE)),
        ],
        ..PLAIN
    },
    Machine {
        name: "slots",
        has_slots: true,
        disks: DISKS_IN_SLOTS,
        wires: WIRES_IN_SLOTS,
        ..PLAIN
    },
    Machine {
        name: "slots-native",
        bus: Bus::PciWithNativeSlots,
        has_slots: true,
        disks: &[of(Kind::Loose, disk("packed", "packed=on", PER_QUEUE))],
        wires: &[wire("wire-split", "packed=off", PAIR)],
        ..PLAIN
    },
    Machine {
        name: "rogue-split",
        parameters: "timeout=1",
        rogues: &[
            rogue("disk", Lie::Disk, false),
            rogue("noise", Lie::Noise, false),
        ],
        ..PLAIN
    },
    Machine {
        name: "rogue-packed",
        parameters: "timeout=1",
        rogues: &[
            rogue("disk", Lie::Disk, true),
            rogue("noise", Lie::Noise, true),
        ],
        ..PLAIN
    },
    Machine {
        name: "rogue-net",
        // A device of two CPUs' pairs would be refused before its control queue is looked for.
        parameters: "queues=1",
        rogues: CULPRITS,
        ..PLAIN
    },
    Machine {
        name: "coexist",
        has_other_drivers: true,
        disks: &[disk("mine", "packed=on", PER_QUEUE)],
        ..PLAIN
    },
    Machine {
        name: "vhost-user",
        bus: Bus::VhostUser,
        // The serial number is the daemon's choice.
        disks: &[disk("vhost_user_blk", "packed=off", PER_QUEUE)],
        ..PLAIN
    },
    Machine {
        name: "reload",
        disks: FLEETING,
        wires: &[wire("packed", "packed=on", PAIR)],
        ..PLAIN
    },
    Machine {
        name: "net-pci",
        sleeps: true,
        wires: PCI_WIRES,
        ..PLAIN
    },
    Machine {
        name: "net-mmio",
        bus: Bus::Mmio,
        sleeps: true,
        wires: &[
            wire("mmio-split", "packed=off", 1),
            wire("mmio-packed", "packed=on", 1),
            wire("mmio-plain", "packed=on,event_idx=off", 1),
        ],
        ..PLAIN
    },
    Machine {
        name: "net-iommu",
        bus: Bus::PciWithIommu,
        wires: &[
            wire(
                "iommu-split",
                "packed=off,iommu_platform=on,disable-legacy=on",
                PAIR,
            ),
            wire(
                "iommu-packed",
                "packed=on,event_idx=off,iommu_platform=on,disable-legacy=on",
                PAIR,
            ),
        ],
        ..PLAIN
    },
    Machine {
        name: "net-bridge",
        wires: BRIDGED,
        ..PLAIN
    },
];

/// All machines: those of this file, and those whose root file system is on a disk of our driver's.
pub fn machines() -> impl Iterator<Item = &'static Machine> {
    MACHINES.iter().chain(work::MACHINES)
}

/// The machine of this name.
pub fn machine(name: &str) -> Option<&'static Machine> {
    machines().find(|machine| machine.name == name)
}

impl Machine {
    /// The disk that L1's root file system is on, if it is on one.
    pub fn root(&self) -> Option<&'static Disk> {
        self.disks.iter().find(|disk| disk.kind == Kind::Root)
    }

    /// Whether it is there for the module to come and go.
    pub fn is_reloaded(&self) -> bool {
        self.disks.iter().any(|disk| disk.kind == Kind::Fleeting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_serial_number_and_taken_once() {
        for machine in machines() {
            for (number, disk) in machine.disks.iter().enumerate() {
                assert!(disk.name.len() <= 20, "{}", disk.name);
                let before = &machine.disks[..number];
                assert!(before.iter().all(|other| other.name != disk.name));
            }
        }
    }
}

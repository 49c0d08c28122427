// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Machines whose root file system is on a disk of our driver's, and on which programs that others
//! wrote work.

use super::{disk, of, over_bridge, wire, Bus, Disk, Kind, Machine, PAIR, PER_QUEUE, PLAIN};
use crate::wire::Wire;

/// The size of a disk to work on.
pub const BYTES: u64 = 64 << 20;

/// A test of the kernel's source, which is there in L1, too.
pub const NETDEVICE: &str = "tools/testing/selftests/net/netdevice.sh";

const fn work(name: &'static str, properties: &'static str, vectors: usize) -> Disk {
    of(Kind::Work, disk(name, properties, vectors))
}

/// One vector for the configuration, and one for each of four queues.
const FOUR_QUEUES: usize = 5;

const PCI_DISKS: &[Disk] = &[
    of(Kind::Root, disk("root", "packed=on", FOUR_QUEUES)),
    work("split-1", "packed=off,num-queues=1", 2),
    work("split-4", "packed=off,num-queues=4", FOUR_QUEUES),
    work("packed-1", "packed=on,num-queues=1", 2),
    work("packed-4", "packed=on,num-queues=4", FOUR_QUEUES),
];

const MMIO_DISKS: &[Disk] = &[
    of(Kind::Root, disk("root", "packed=off", 1)),
    work("mmio-split-1", "packed=off,num-queues=1", 1),
    work("mmio-split-4", "packed=off,num-queues=4", 1),
    work("mmio-packed-1", "packed=on,num-queues=1", 1),
    work("mmio-packed-4", "packed=on,num-queues=4", 1),
];

const WIRES: &[Wire] = &[
    over_bridge(wire("bridge-split", "packed=off", PAIR), 1),
    over_bridge(wire("bridge-packed", "packed=on", PAIR), 1),
    wire("hub", "packed=off", PAIR),
];

/// All of them.
pub(super) const MACHINES: &[Machine] = &[
    Machine {
        name: "work-pci",
        cpus: 4,
        disks: PCI_DISKS,
        ..PLAIN
    },
    Machine {
        name: "work-mmio",
        bus: Bus::Mmio,
        cpus: 4,
        disks: MMIO_DISKS,
        ..PLAIN
    },
    Machine {
        name: "work-net",
        disks: &[of(Kind::Root, disk("root", "packed=on", PER_QUEUE))],
        wires: WIRES,
        ..PLAIN
    },
];

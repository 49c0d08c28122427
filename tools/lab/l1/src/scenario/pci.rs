// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Guests whose virtio device is on PCI, with MSI-X: every way to dispatch that there is for one, with
//! the kernel's own driver and with virtio_fe.ko.

use super::{Dispatch, Driver, Scenario, Task, PLAIN};

const BLK: &str = "pci=blk";
const NET: &str = "pci=net";
const ALL: &[&str] = &["--packed", "--in-order", "--notification-data"];

const DISK: Scenario = Scenario {
    options: &[BLK],
    ..PLAIN
};

const INTERFACE: Scenario = Scenario {
    task: Task::Packets,
    options: &[NET],
    ..PLAIN
};

pub(super) const PCI: &[Scenario] = &[
    Scenario {
        name: "pci-exit",
        dispatch: Dispatch::Exit,
        ..DISK
    },
    Scenario {
        name: "pci-exit-ipc",
        dispatch: Dispatch::ExitIpc,
        ..DISK
    },
    Scenario {
        name: "pci-ioregion-smp",
        cpus: 2,
        ..DISK
    },
    Scenario {
        name: "pci-ioregion-ioeventfd",
        options: &[BLK, "notify=ioeventfd"],
        device: &["--packed"],
        ..DISK
    },
    Scenario {
        name: "pci-channel-posted",
        options: &[BLK, "tier=ring", "posted=on"],
        ..DISK
    },
    Scenario {
        name: "pci-rules",
        options: &[BLK, "tier=rules"],
        ..DISK
    },
    Scenario {
        name: "fe-pci-rules-packed-all",
        driver: Driver::VirtioFe,
        options: &[BLK, "tier=rules"],
        device: ALL,
        ..DISK
    },
    Scenario {
        name: "net-pci-exit",
        dispatch: Dispatch::Exit,
        ..INTERFACE
    },
    Scenario {
        name: "net-pci-exit-ipc-packed",
        dispatch: Dispatch::ExitIpc,
        device: &["--packed"],
        ..INTERFACE
    },
    Scenario {
        name: "net-pci-ioregion-unmerged",
        device: &["--unmerged"],
        ..INTERFACE
    },
    Scenario {
        name: "net-pci-rules-queues",
        options: &[NET, "tier=rules"],
        device: &["--queues=2"],
        cpus: 2,
        ..INTERFACE
    },
    Scenario {
        name: "net-pci-channel",
        options: &[NET, "tier=ring"],
        ..INTERFACE
    },
    Scenario {
        name: "net-pci-rules-ioeventfd",
        options: &[NET, "tier=rules", "notify=ioeventfd"],
        ..INTERFACE
    },
    Scenario {
        name: "fe-net-pci-ioregion-packed-all",
        driver: Driver::VirtioFe,
        device: ALL,
        ..INTERFACE
    },
];

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Guests with a network interface of ours, in every way to dispatch, with the
//! kernel's own driver and with virtio_fe.ko.

use super::{Dispatch, Driver, Scenario, Task, PLAIN, RULES};

/// What a guest with a network interface is, but for the name.
const NET: Scenario = Scenario {
    task: Task::Packets,
    ..PLAIN
};

const FE: Scenario = Scenario {
    driver: Driver::VirtioFe,
    ..NET
};

const ALL: &[&str] = &["--packed", "--in-order", "--notification-data"];

pub(super) const PACKETS: &[Scenario] = &[
    Scenario {
        name: "net-exit",
        dispatch: Dispatch::Exit,
        ..NET
    },
    Scenario {
        name: "net-exit-ipc",
        dispatch: Dispatch::ExitIpc,
        ..NET
    },
    Scenario {
        name: "net-exit-queues",
        dispatch: Dispatch::Exit,
        device: &["--queues=2"],
        cpus: 2,
        ..NET
    },
    Scenario {
        name: "net-ioregion-queues",
        device: &["--queues=2", "--packed"],
        cpus: 2,
        ..NET
    },
    Scenario {
        name: "net-ioregion-packed",
        device: &["--packed"],
        ..NET
    },
    Scenario {
        name: "net-channel-unmerged",
        options: &["tier=ring"],
        device: &["--unmerged"],
        ..NET
    },
    Scenario {
        name: "net-shadow-packed",
        options: &["tier=shadow"],
        device: &["--packed"],
        ..NET
    },
    Scenario {
        name: "net-rules",
        options: RULES,
        ..NET
    },
    Scenario {
        name: "fe-net-exit-packed-all",
        dispatch: Dispatch::Exit,
        device: ALL,
        ..FE
    },
    Scenario {
        name: "fe-net-exit-ipc-packed",
        dispatch: Dispatch::ExitIpc,
        device: &["--packed"],
        ..FE
    },
    Scenario {
        name: "fe-net-ioregion-in-order",
        device: &["--in-order"],
        ..FE
    },
    Scenario {
        name: "fe-net-channel-unmerged",
        options: &["tier=ring"],
        device: &["--unmerged"],
        ..FE
    },
    Scenario {
        name: "fe-net-rules-packed-all",
        options: RULES,
        device: ALL,
        ..FE
    },
];

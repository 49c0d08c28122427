// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Guests with virtio-rng or virtio-console, in every way to dispatch, on virtio-mmio and on PCI.

use super::{Dispatch, Driver, Scenario, Task, IOEVENTFD, PLAIN, RULES};

const RNG: Scenario = Scenario {
    task: Task::Bytes,
    driver: Driver::Rng,
    ..PLAIN
};

const CONSOLE: Scenario = Scenario {
    driver: Driver::Console,
    ..RNG
};

pub(super) const BYTES: &[Scenario] = &[
    Scenario {
        name: "rng-exit",
        dispatch: Dispatch::Exit,
        ..RNG
    },
    Scenario {
        name: "rng-exit-ipc",
        dispatch: Dispatch::ExitIpc,
        device: &["--packed"],
        ..RNG
    },
    Scenario {
        name: "rng-ioregion-ioeventfd",
        options: IOEVENTFD,
        ..RNG
    },
    Scenario {
        name: "rng-channel",
        options: &["tier=ring"],
        ..RNG
    },
    Scenario {
        name: "rng-rules",
        options: RULES,
        ..RNG
    },
    Scenario {
        name: "rng-pci-rules",
        options: &["pci=rng", "tier=rules"],
        ..RNG
    },
    Scenario {
        name: "console-exit",
        dispatch: Dispatch::Exit,
        ..CONSOLE
    },
    Scenario {
        name: "console-exit-ipc",
        dispatch: Dispatch::ExitIpc,
        ..CONSOLE
    },
    Scenario {
        name: "console-ioregion",
        ..CONSOLE
    },
    Scenario {
        name: "console-shadow",
        options: &["tier=shadow"],
        device: &["--packed"],
        ..CONSOLE
    },
    Scenario {
        name: "console-rules",
        options: RULES,
        ..CONSOLE
    },
    Scenario {
        name: "console-pci-exit-ipc",
        dispatch: Dispatch::ExitIpc,
        options: &["pci=console"],
        ..CONSOLE
    },
];

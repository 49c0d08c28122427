// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Guests whose disk is driven by virtio_fe.ko: every way to dispatch with every kind of ring.

use super::{Dispatch, Driver, Scenario, Task, IOEVENTFD, KILLS, PLAIN, RULES};

/// Kinds of ring, by what the device offers besides indirect descriptors and the event index.
const RINGS: [&[&str]; 4] = [&[], &["--in-order"], &["--packed"], ALL];

const ALL: &[&str] = &["--packed", "--in-order", "--notification-data"];

/// What a guest with virtio_fe is, but for the name.
const FE: Scenario = Scenario {
    driver: Driver::VirtioFe,
    ..PLAIN
};

/// Rings of [`RINGS`], by their place.
const SPLIT: usize = 0;
const SPLIT_IN_ORDER: usize = 1;
const PACKED: usize = 2;
const PACKED_ALL: usize = 3;

/// A way to dispatch with each of [`RINGS`], of which `lab test` has one.
macro_rules! row {
    ($mode:literal, $dispatch:ident, $options:expr, $in_test:expr) => {
        row(
            [
                concat!("fe-", $mode, "-split"),
                concat!("fe-", $mode, "-split-in-order"),
                concat!("fe-", $mode, "-packed"),
                concat!("fe-", $mode, "-packed-all"),
            ],
            Scenario {
                dispatch: Dispatch::$dispatch,
                options: $options,
                ..FE
            },
            $in_test,
        )
    };
}

const fn row(names: [&'static str; RINGS.len()], all: Scenario, in_test: usize) -> Row {
    let mut row = [all; RINGS.len()];
    let mut ring = 0;
    while ring < row.len() {
        row[ring].name = names[ring];
        row[ring].device = RINGS[ring];
        row[ring].in_test = ring == in_test;
        ring += 1;
    }
    row
}

type Row = [Scenario; RINGS.len()];

/// A row for each way to dispatch, in it a guest for each kind of ring.
pub(super) const MATRIX: &[Row] = &[
    row!("exit", Exit, &[], PACKED_ALL),
    row!("exit-ipc", ExitIpc, &[], SPLIT_IN_ORDER),
    row!("ioregion", Ioregion, &[], PACKED_ALL),
    row!("ioeventfd", Ioregion, IOEVENTFD, PACKED),
    row!("channel", Ioregion, &["tier=ring"], SPLIT),
    row!("shadow", Ioregion, &["tier=shadow"], SPLIT_IN_ORDER),
    row!("rules", Ioregion, RULES, PACKED_ALL),
];

/// Guests whose device process is killed.
pub(super) const KILLED: &[Scenario] = &[
    Scenario {
        name: "fe-exit-ipc-kill",
        dispatch: Dispatch::ExitIpc,
        device: RINGS[SPLIT_IN_ORDER],
        kills: KILLS,
        ..FE
    },
    Scenario {
        name: "fe-ioregion-kill",
        device: RINGS[PACKED_ALL],
        kills: KILLS,
        ..FE
    },
    Scenario {
        name: "fe-ioeventfd-kill",
        options: IOEVENTFD,
        device: RINGS[PACKED],
        kills: KILLS,
        ..FE
    },
    Scenario {
        name: "fe-channel-kill",
        options: &["tier=ring"],
        device: RINGS[SPLIT],
        kills: KILLS,
        ..FE
    },
    Scenario {
        name: "fe-rules-kill",
        options: RULES,
        device: RINGS[PACKED_ALL],
        kills: KILLS,
        ..FE
    },
];

/// Guests whose device demands a reset instead of carrying out one in so many requests.
pub(super) const RESET: &[Scenario] = &[
    Scenario {
        name: "fe-exit-ipc-needs-reset",
        dispatch: Dispatch::ExitIpc,
        device: &["--in-order", "--reset-every=30"],
        ..FE
    },
    Scenario {
        name: "fe-ioregion-needs-reset",
        device: &["--packed", "--reset-every=30"],
        ..FE
    },
    Scenario {
        name: "fe-rules-needs-reset",
        options: RULES,
        device: &[
            "--packed",
            "--in-order",
            "--notification-data",
            "--reset-every=30",
        ],
        ..FE
    },
];

/// The same loads as with the kernel's own driver, with split rings, as that has them there; and the
/// one that asks nobody with everything that a ring can do.
pub(super) const LOADS: &[Scenario] = &[
    load("load-fe-exit", Dispatch::Exit, &[], SPLIT),
    load("load-fe-exit-ipc", Dispatch::ExitIpc, &[], SPLIT),
    load("load-fe-ioregion", Dispatch::Ioregion, &[], SPLIT),
    load("load-fe-channel", Dispatch::Ioregion, &["tier=ring"], SPLIT),
    load(
        "load-fe-channel-shadow",
        Dispatch::Ioregion,
        &["tier=shadow"],
        SPLIT,
    ),
    load(
        "load-fe-channel-shadow-rules",
        Dispatch::Ioregion,
        RULES,
        SPLIT,
    ),
    load(
        "load-fe-channel-shadow-rules-packed-all",
        Dispatch::Ioregion,
        RULES,
        PACKED_ALL,
    ),
];

const fn load(
    name: &'static str,
    dispatch: Dispatch,
    options: &'static [&'static str],
    ring: usize,
) -> Scenario {
    Scenario {
        name,
        task: Task::Load,
        dispatch,
        options,
        device: RINGS[ring],
        ..FE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_has_each_row_and_each_ring() {
        let chosen = |row: &Row| row.iter().filter(|s| s.in_test).count();
        assert!(MATRIX.iter().all(|row| chosen(row) == 1));
        for ring in 0..RINGS.len() {
            assert!(MATRIX.iter().any(|row| row[ring].in_test), "{ring}");
        }
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Guests with a network interface that is not virtio's, in every way to dispatch, with the kernel's own
//! drivers.

use super::{Dispatch, Driver, Scenario, Task, PLAIN};

const MODES: usize = 6;

/// A device in each way to dispatch.
macro_rules! nics {
    ($name:literal, $driver:ident) => {
        [
            nic(
                concat!($name, "-exit"),
                Driver::$driver,
                Dispatch::Exit,
                &[concat!("pci=", $name)],
            ),
            nic(
                concat!($name, "-exit-ipc"),
                Driver::$driver,
                Dispatch::ExitIpc,
                &[concat!("pci=", $name)],
            ),
            nic(
                concat!($name, "-ioregion"),
                Driver::$driver,
                Dispatch::Ioregion,
                &[concat!("pci=", $name)],
            ),
            nic(
                concat!($name, "-posted"),
                Driver::$driver,
                Dispatch::Ioregion,
                &[concat!("pci=", $name), "posted=on"],
            ),
            nic(
                concat!($name, "-channel"),
                Driver::$driver,
                Dispatch::Ioregion,
                &[concat!("pci=", $name), "tier=ring"],
            ),
            nic(
                concat!($name, "-rules"),
                Driver::$driver,
                Dispatch::Ioregion,
                &[concat!("pci=", $name), "tier=rules"],
            ),
        ]
    };
}

const fn nic(
    name: &'static str,
    driver: Driver,
    dispatch: Dispatch,
    options: &'static [&'static str],
) -> Scenario {
    Scenario {
        name,
        task: Task::Packets,
        driver,
        dispatch,
        options,
        device: match (driver, dispatch) {
            // The VMM's option says it there.
            (_, Dispatch::Exit) => &[],
            (Driver::E1000, _) => &["--model=e1000"],
            _ => &["--model=rtl8139"],
        },
        ..PLAIN
    }
}

const E1000: [Scenario; MODES] = nics!("e1000", E1000);
const RTL8139: [Scenario; MODES] = nics!("rtl8139", Rtl8139);

pub(super) const NICS: &[Scenario] = &[
    E1000[0], E1000[1], E1000[2], E1000[3], E1000[4], E1000[5], RTL8139[0], RTL8139[1], RTL8139[2],
    RTL8139[3], RTL8139[4], RTL8139[5],
];

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Network interfaces of L1's that are assigned, and what is at the other end of their wires.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fe_tests::network::{ip, Device};
use fe_tests::wire::mac;

use crate::{host, modules, pci, traffic, vfio};

/// A kind of interface; of each kind the first device is for guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interface {
    Virtio,
    /// Intel's 82574L.
    E1000e,
}

impl Interface {
    pub(crate) const ALL: [Self; 2] = [Self::Virtio, Self::E1000e];

    /// The device's directory.
    pub(crate) fn path(self) -> Result<PathBuf> {
        let (vendor, device) = match self {
            Self::Virtio => ("0x1af4", "0x1041"),
            Self::E1000e => ("0x8086", "0x10d3"),
        };
        pci::find(vendor, device, 0)
    }

    /// The number of its wire, which its addresses have.
    fn wire(self) -> u8 {
        self as u8
    }

    /// The guest's address, and the length of the network's part of it.
    pub(crate) fn address(self) -> String {
        format!("10.7.{}.2/24", self.wire())
    }

    /// The address at the other end of its wire.
    pub(crate) fn peer(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 7, self.wire(), 1)
    }
}

/// Gives all interfaces to VFIO, and serves at the other end of each wire. The modules are neighbours of
/// exitless.ko, `ours`.
pub(crate) fn serve(ours: &Path) -> Result<()> {
    for interface in Interface::ALL {
        let path = interface.path()?;
        if path.join("driver").exists() {
            pci::take_back(&path)?;
        }
        pci::give(&path, vfio::DRIVER)?;
    }
    modules::load_virtio_net(ours)?;
    for interface in Interface::ALL {
        let device = Device::find(&mac(interface.wire().into(), 1))?;
        set_up(&device.name, &format!("{}/24", interface.peer()))?;
        // Where no guest runs: each would be an exit.
        host::give_to_first_cpu(&pci_name(&device.name)?)?;
        traffic::serve(interface.peer())?;
    }
    Ok(())
}

/// Takes an interface up.
pub(crate) fn set_up(name: &str, address: &str) -> Result<()> {
    ip(&format!("link set {name} up"))?;
    ip(&format!("address add {address} dev {name}"))?;
    await_carrier(name)
}

/// Waits until the interface has a peer.
pub(crate) fn await_carrier(name: &str) -> Result<()> {
    let path = format!("/sys/class/net/{name}/carrier");
    while fs::read_to_string(&path).with_context(|| path.clone())? != "1\n" {
        std::thread::yield_now();
    }
    Ok(())
}

/// What the kernel calls the PCI device of an interface.
pub(crate) fn pci_name(interface: &str) -> Result<String> {
    let path = format!("/sys/class/net/{interface}/device");
    let path = fs::canonicalize(&path).context(path)?;
    let mut names = path
        .components()
        .map(|part| part.as_os_str().to_string_lossy());
    // The device of virtio's is below it.
    let name = names.rfind(|name| name.matches([':', '.']).count() == 3);
    Ok(name.context("no device of PCI")?.into_owned())
}

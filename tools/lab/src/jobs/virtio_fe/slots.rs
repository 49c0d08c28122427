// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! PCI Express slots of a machine, and what is in them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fe_tests::plan::{Disk, Machine};
use fe_tests::wire::id;

use super::wires;
use crate::qemu::{escaped, monitor, Monitor};

/// A slot with a device.
struct Slot {
    /// The device's name.
    name: String,
    /// What QEMU's `-device` says of it.
    device: String,
}

impl Slot {
    fn new(name: &str, device: &str) -> Self {
        let port = port(name);
        Self {
            name: name.to_owned(),
            device: format!("{device},id={name},bus={port}"),
        }
    }
}

fn port(name: &str) -> String {
    format!("{name}-slot")
}

/// All slots of a machine.
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// The socket of QEMU's monitor.
    monitor: PathBuf,
}

impl Slots {
    /// Those of this machine.
    pub(super) fn of(machine: &Machine, directory: &Path) -> Self {
        let disks = machine
            .disks
            .iter()
            .map(|disk| Slot::new(disk.name, &super::device(disk, "virtio-blk-pci")));
        let ends = (0..machine.wires.len())
            .map(|wire| Slot::new(&id(wire, 0), &wires::device(machine, wire, 0)));
        Self {
            slots: match machine.has_slots {
                true => disks.chain(ends).collect(),
                false => vec![],
            },
            monitor: directory.join("monitor.sock"),
        }
    }

    /// QEMU's arguments: for each slot its port, whose number is a chassis of its own, and its device;
    /// and what takes and gives devices.
    pub(super) fn arguments(&self) -> Vec<String> {
        if self.slots.is_empty() {
            return vec![];
        }
        let mut arguments = monitor::arguments(&self.monitor).to_vec();
        for (slot, number) in self.slots.iter().zip(1..) {
            let port = port(&slot.name);
            arguments.push("-device".to_owned());
            arguments.push(format!("pcie-root-port,id={port},chassis={number}"));
            arguments.extend(["-device".to_owned(), slot.device.clone()]);
        }
        arguments
    }

    /// Has a device taken.
    ///
    /// # Errors
    ///
    /// QEMU or L1's kernel does not do so.
    pub(super) fn take(&self, name: &str) -> Result<()> {
        Monitor::connect(&self.monitor)?.take(name)
    }

    /// Has a device put back.
    ///
    /// # Errors
    ///
    /// QEMU does not do so.
    pub(super) fn give(&self, name: &str) -> Result<()> {
        let slot = self.slots.iter().find(|slot| slot.name == name);
        let slot = slot.with_context(|| format!("no slot for {name}"))?;
        Monitor::connect(&self.monitor)?.give(&slot.device)
    }
}

/// QEMU's arguments for the image of a disk, which stays when the disk goes.
pub(super) fn drive(disk: &Disk, image: &Path) -> Vec<String> {
    let (name, image) = (disk.name, escaped(image));
    let drive = format!("driver=raw,node-name={name},file.driver=file,file.filename={image}");
    ["-blockdev".to_owned(), drive].to_vec()
}

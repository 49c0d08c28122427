// SPDX-License-Identifier: GPL-2.0-only

//! The interrupt of QEMU's `edu`, `docs/specs/edu.rst`: the handler that a driver of such a device
//! would have, and nothing else.
//!
//! Who wants an interrupt writes to the device's registers, which every PCI device has as the file
//! `resource0`. `/proc/interrupts` says how many came. A device is this driver's if its
//! `driver_override` says so: the kernel has no name for the vendor 0x1234, so there is no table.

#![forbid(unsafe_code)]

use kernel::{
    device::Core,
    io::Io,
    pci,
    prelude::*, //
};
use pci_msi::{
    Handler,
    Interrupt, //
};

kernel::module_pci_driver! {
    type: Edu,
    name: "edu",
    authors: ["Shunt developers"],
    description: "Takes back the interrupts of QEMU's educational device",
    license: "GPL",
}

/// Why the device interrupts.
const STATUS: usize = 0x24;
/// Takes that back.
const ACKNOWLEDGE: usize = 0x64;
/// Bytes of registers that are used.
const END: usize = 0x68;

struct Registers(pci::DevresBar<END>);

impl Handler for Registers {
    fn handle(&self) -> bool {
        let Some(registers) = self.0.try_access() else {
            return false;
        };
        let status = registers.read32(STATUS);
        if status != 0 {
            registers.write32(status, ACKNOWLEDGE);
        }
        status != 0
    }
}

struct Edu {
    _interrupt: Interrupt<Registers>,
}

kernel::pci_device_table!(DEVICES, <Edu as pci::Driver>::IdInfo, []);

impl pci::Driver for Edu {
    type IdInfo = ();
    type Data<'bound> = Self;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = &DEVICES;

    fn probe<'bound>(
        device: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound ()>,
    ) -> impl PinInit<Self, Error> + 'bound {
        device.enable_device_mem()?;
        device.set_master();
        let registers = device.iomap_region_sized::<END>(0, c"edu")?.into_devres()?;
        Ok(Self {
            _interrupt: Interrupt::new(device, c"edu", Registers(registers))?,
        })
    }
}

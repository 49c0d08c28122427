// SPDX-License-Identifier: GPL-2.0-only

//! Devices on PCI.

use crate::device::Device;
use kernel::{
    device::Core,
    pci,
    prelude::*, //
};
use virtio_spec::{
    blk,
    net,
    pci::device_id, //
};
use virtio_transport::Pci;

/// The driver of devices on PCI. Its table has only what we have something for, so that the
/// kernel's own driver keeps all others.
pub(crate) struct Driver;

/// PCI device ids of devices that can be legacy ones, too: section 4.1.2.1.
const TRANSITIONAL_NET: u32 = 0x1000;
const TRANSITIONAL_BLOCK: u32 = 0x1001;

const fn id(device: u32) -> pci::DeviceId {
    pci::DeviceId::from_id(pci::Vendor::REDHAT_QUMRANET, device)
}

kernel::pci_device_table!(
    DEVICES,
    <Driver as pci::Driver>::IdInfo,
    [
        (id(device_id(blk::DEVICE_ID) as u32), blk::DEVICE_ID),
        (id(TRANSITIONAL_BLOCK), blk::DEVICE_ID),
        (id(device_id(net::DEVICE_ID) as u32), net::DEVICE_ID),
        (id(TRANSITIONAL_NET), net::DEVICE_ID),
    ]
);

impl pci::Driver for Driver {
    /// Device type.
    type IdInfo = u16;
    type Data<'bound> = Device<Pci>;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = &DEVICES;

    fn probe<'bound>(
        device: &'bound pci::Device<Core<'_>>,
        kind: Option<&'bound u16>,
    ) -> impl PinInit<Device<Pci>, Error> + 'bound {
        let kind = *kind.ok_or(ENODEV)?;
        Device::new(device.as_ref(), Pci::new(device)?, kind)
    }
}

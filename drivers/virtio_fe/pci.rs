// SPDX-License-Identifier: GPL-2.0-only

//! Devices on PCI.

use crate::block::Disk;
use kernel::{
    device::Core,
    pci,
    prelude::*, //
};
use virtio_spec::{
    blk,
    pci::device_id, //
};
use virtio_transport::Pci;

/// The driver of block devices on PCI. Its table has only these, so that the kernel's own driver
/// keeps all others.
pub(crate) struct Block;

/// PCI device id of a block device that can be a legacy one, too: section 4.1.2.1.
const TRANSITIONAL: u32 = 0x1001;

const MODERN: u32 = device_id(blk::DEVICE_ID) as u32;

kernel::pci_device_table!(
    BLOCK_DEVICES,
    <Block as pci::Driver>::IdInfo,
    [
        (
            pci::DeviceId::from_id(pci::Vendor::REDHAT_QUMRANET, MODERN),
            ()
        ),
        (
            pci::DeviceId::from_id(pci::Vendor::REDHAT_QUMRANET, TRANSITIONAL),
            ()
        ),
    ]
);

impl pci::Driver for Block {
    type IdInfo = ();
    type Data<'bound> = Disk<Pci>;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = &BLOCK_DEVICES;

    fn probe<'bound>(
        device: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound ()>,
    ) -> impl PinInit<Disk<Pci>, Error> + 'bound {
        Disk::new(device.as_ref(), Pci::new(device)?)
    }
}

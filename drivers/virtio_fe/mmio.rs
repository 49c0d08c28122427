// SPDX-License-Identifier: GPL-2.0-only

//! Devices that ACPI, a device tree or the kernel's command line tells of.

use crate::block::Disk;
use kernel::{
    acpi,
    device::Core,
    of,
    platform,
    prelude::*, //
};
use virtio_spec::blk;
use virtio_transport::Mmio;

/// The driver of block devices on virtio-mmio.
pub(crate) struct Block;

kernel::of_device_table!(
    OF_DEVICES,
    <Block as platform::Driver>::IdInfo,
    [(of::DeviceId::new(c"virtio,mmio"), ())]
);

kernel::acpi_device_table!(
    ACPI_DEVICES,
    <Block as platform::Driver>::IdInfo,
    [(acpi::DeviceId::new(c"LNRO0005"), ())]
);

impl platform::Driver for Block {
    type IdInfo = ();
    type Data<'bound> = Disk<Mmio>;
    const OF_ID_TABLE: Option<of::IdTable<Self::IdInfo>> = Some(&OF_DEVICES);
    const ACPI_ID_TABLE: Option<acpi::IdTable<Self::IdInfo>> = Some(&ACPI_DEVICES);

    fn probe<'bound>(
        device: &'bound platform::Device<Core<'_>>,
        _info: Option<&'bound ()>,
    ) -> impl PinInit<Disk<Mmio>, Error> + 'bound {
        Disk::new(device.as_ref(), Mmio::new(device, blk::DEVICE_ID)?)
    }
}

// SPDX-License-Identifier: GPL-2.0-only

//! Devices that ACPI, a device tree or the kernel's command line tells of.

use crate::device::Device;
use kernel::{
    acpi,
    device::Core,
    of,
    platform,
    prelude::*, //
};
use virtio_transport::Mmio;

/// The driver of devices on virtio-mmio.
pub(crate) struct Driver;

kernel::of_device_table!(
    OF_DEVICES,
    <Driver as platform::Driver>::IdInfo,
    [(of::DeviceId::new(c"virtio,mmio"), ())]
);

kernel::acpi_device_table!(
    ACPI_DEVICES,
    <Driver as platform::Driver>::IdInfo,
    [(acpi::DeviceId::new(c"LNRO0005"), ())]
);

impl platform::Driver for Driver {
    type IdInfo = ();
    type Data<'bound> = Device<Mmio>;
    const OF_ID_TABLE: Option<of::IdTable<Self::IdInfo>> = Some(&OF_DEVICES);
    const ACPI_ID_TABLE: Option<acpi::IdTable<Self::IdInfo>> = Some(&ACPI_DEVICES);

    fn probe<'bound>(
        device: &'bound platform::Device<Core<'_>>,
        _info: Option<&'bound ()>,
    ) -> impl PinInit<Device<Mmio>, Error> + 'bound {
        let (transport, kind) = Mmio::new(device)?;
        Device::new(device.as_ref(), transport, kind)
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A PCI device that VFIO assigns to this process.

use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use anyhow::{ensure, Context, Result};
use rawguest::Memory;
use vfio_bindings::bindings::vfio::{
    VFIO_BASE, VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_MSI_IRQ_INDEX, VFIO_TYPE,
};
use vfio_ioctls::{VfioContainer, VfioDevice};
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::ioctl::ioctl;
use vmm_sys_util::ioctl_io_nr;

use crate::pci;

/// The driver of devices that are assigned.
pub(crate) const DRIVER: &str = "vfio-pci";

/// PCI's command register, and what VFIO does not switch on by itself.
const COMMAND: u64 = 4;
const MEMORY_AND_BUS_MASTER: u16 = 0x6;

ioctl_io_nr!(VFIO_DEVICE_RESET, VFIO_TYPE as u32, VFIO_BASE + 11);

/// An assigned device. It is reset when this is dropped.
pub(crate) struct Device(VfioDevice);

impl Device {
    /// Takes the device of this number, of those with these identifiers, from its driver.
    pub(crate) fn find(vendor: &str, device: &str, number: usize) -> Result<Self> {
        let path = pci::find(vendor, device, number)?;
        pci::give(&path, DRIVER)?;
        let container = VfioContainer::new(None).context("a container")?;
        let device = VfioDevice::new(&path, Arc::new(container), false)
            .with_context(|| path.display().to_string())?;
        let command = MEMORY_AND_BUS_MASTER.to_le_bytes();
        device.region_write(VFIO_PCI_CONFIG_REGION_INDEX, &command, COMMAND);
        Ok(Self(device))
    }

    /// The registers of a BAR.
    pub(crate) fn bar(&self, index: u32) -> Result<Memory> {
        // SAFETY: The device keeps its descriptor open until after this.
        let file = unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) };
        let file = File::from(file.try_clone_to_owned()?);
        let (offset, size) = (
            self.0.get_region_offset(index),
            self.0.get_region_size(index),
        );
        Ok(Memory::of_device(file, offset, size as usize)?)
    }

    /// Has the device's MSI signal an eventfd.
    pub(crate) fn set_msi(&self, event: &EventFd) -> Result<()> {
        let enabled = self.0.enable_irq(VFIO_PCI_MSI_IRQ_INDEX, vec![event]);
        enabled.context("enabling MSI")
    }

    /// Switches MSI off.
    pub(crate) fn clear_msi(&self) -> Result<()> {
        let disabled = self.0.disable_irq(VFIO_PCI_MSI_IRQ_INDEX);
        disabled.context("disabling MSI")
    }

    /// Resets the device. What VFIO has set up stays. [`VfioDevice::reset`] does not say when it fails.
    pub(crate) fn reset(&self) -> Result<()> {
        // SAFETY: The request has no argument.
        let result = unsafe { ioctl(&self.0, VFIO_DEVICE_RESET()) };
        let error = std::io::Error::last_os_error();
        ensure!(result == 0, "VFIO_DEVICE_RESET: {error}");
        Ok(())
    }
}

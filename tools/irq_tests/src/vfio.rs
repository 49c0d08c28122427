// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A PCI device that VFIO assigns to this process: `include/uapi/linux/vfio.h`.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::ptr::null_mut;

use anyhow::{Context, Result};
use libc::{c_ulong, c_void};
use rawguest::Memory;

use crate::pci;

/// The driver of devices that are assigned.
pub(crate) const DRIVER: &str = "vfio-pci";

const SET_IOMMU: c_ulong = number(2);
const GROUP_SET_CONTAINER: c_ulong = number(4);
const GROUP_GET_DEVICE_FD: c_ulong = number(6);
const DEVICE_GET_REGION_INFO: c_ulong = number(8);
const DEVICE_SET_IRQS: c_ulong = number(10);
const DEVICE_RESET: c_ulong = number(11);

const TYPE1_IOMMU: usize = 1;
const CONFIG_REGION: u32 = 7;
const MSI: u32 = 1;
const DATA_EVENTFD: u32 = 1 << 2;
const DATA_NONE: u32 = 1 << 0;
const ACTION_TRIGGER: u32 = 1 << 5;

/// PCI's command register, and what VFIO does not switch on by itself.
const COMMAND: u64 = 4;
const MEMORY_AND_BUS_MASTER: u16 = 0x6;

/// `_IO(';', 100 + n)`.
const fn number(n: c_ulong) -> c_ulong {
    0x3b << 8 | (100 + n)
}

#[derive(Default)]
#[repr(C)]
struct RegionInfo {
    argsz: u32,
    flags: u32,
    index: u32,
    cap_offset: u32,
    size: u64,
    offset: u64,
}

/// `struct vfio_irq_set` with room for one eventfd.
#[repr(C)]
struct IrqSet {
    argsz: u32,
    flags: u32,
    index: u32,
    start: u32,
    count: u32,
    eventfd: i32,
}

/// An assigned device. It is reset when this is dropped.
pub(crate) struct Device {
    file: File,
    _group: File,
    _container: File,
}

impl Device {
    /// Takes the device of this number, of those with these identifiers, from its driver.
    pub(crate) fn find(vendor: &str, device: &str, number: usize) -> Result<Self> {
        let path = pci::find(vendor, device, number)?;
        pci::give(&path, DRIVER)?;
        let name = pci::name(&path)?;
        let group = fs::read_link(path.join("iommu_group")).context("IOMMU group")?;
        let group = group.file_name().context("IOMMU group")?.to_string_lossy();
        Self::open(&group, &name)
    }

    fn open(group: &str, name: &str) -> Result<Self> {
        let container = open("/dev/vfio/vfio")?;
        let group = open(&format!("/dev/vfio/{group}"))?;
        let mut descriptor = container.as_raw_fd();
        call(&group, GROUP_SET_CONTAINER, (&raw mut descriptor).cast()).context("container")?;
        call(&container, SET_IOMMU, TYPE1_IOMMU as *mut c_void).context("VFIO_SET_IOMMU")?;
        let name = CString::new(name)?;
        let fd = call(&group, GROUP_GET_DEVICE_FD, name.as_ptr().cast_mut().cast())
            .context("VFIO_GROUP_GET_DEVICE_FD")?;
        // SAFETY: VFIO has just made this descriptor for us.
        let file = unsafe { File::from_raw_fd(fd) };
        let device = Self {
            file,
            _group: group,
            _container: container,
        };
        let config = device.region(CONFIG_REGION)?.offset;
        let command = MEMORY_AND_BUS_MASTER.to_le_bytes();
        device.file.write_all_at(&command, config + COMMAND)?;
        Ok(device)
    }

    fn region(&self, index: u32) -> Result<RegionInfo> {
        let mut info = RegionInfo {
            argsz: size_of::<RegionInfo>() as u32,
            index,
            ..RegionInfo::default()
        };
        call(&self.file, DEVICE_GET_REGION_INFO, (&raw mut info).cast())
            .with_context(|| format!("region {index}"))?;
        Ok(info)
    }

    /// The registers of a BAR.
    pub(crate) fn bar(&self, index: u32) -> Result<Memory> {
        let region = self.region(index)?;
        let file = self.file.try_clone()?;
        Ok(Memory::of_device(
            file,
            region.offset,
            region.size as usize,
        )?)
    }

    /// Has the device's MSI signal an eventfd.
    pub(crate) fn set_msi(&self, eventfd: RawFd) -> Result<()> {
        self.set_irqs(DATA_EVENTFD, 1, eventfd)
            .context("enabling MSI")
    }

    /// Switches MSI off.
    pub(crate) fn clear_msi(&self) -> Result<()> {
        self.set_irqs(DATA_NONE, 0, -1).context("disabling MSI")
    }

    /// Resets the device. What VFIO has set up stays.
    pub(crate) fn reset(&self) -> Result<()> {
        let result = call(&self.file, DEVICE_RESET, null_mut());
        result.map(drop).context("VFIO_DEVICE_RESET")
    }

    fn set_irqs(&self, data: u32, count: u32, eventfd: RawFd) -> io::Result<()> {
        let has_data = data == DATA_EVENTFD;
        let without = size_of::<IrqSet>() - size_of::<i32>();
        let mut set = IrqSet {
            argsz: if has_data {
                size_of::<IrqSet>()
            } else {
                without
            } as u32,
            flags: data | ACTION_TRIGGER,
            index: MSI,
            start: 0,
            count,
            eventfd,
        };
        call(&self.file, DEVICE_SET_IRQS, (&raw mut set).cast()).map(drop)
    }
}

fn open(path: &str) -> Result<File> {
    let mut options = File::options();
    options.read(true).write(true);
    options.open(path).with_context(|| path.to_owned())
}

fn call(file: &File, request: c_ulong, argument: *mut c_void) -> io::Result<i32> {
    // SAFETY: Each caller in this file passes what the request of VFIO's takes: a number, a string,
    // or a structure with its size, which lives during the call.
    match unsafe { libc::ioctl(file.as_raw_fd(), request, argument) } {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! KVM's side of ioregionfd for a VMM: is it there, give it a region, complete what it could not.

mod failed_access;

use std::io;
use std::os::fd::AsRawFd;

use ioregion_wire::uapi::{
    KvmIoregion, API_VERSION, KVM_CAP_IOREGIONFD, KVM_IOREGION_DEASSIGN, KVM_IOREGION_PIO,
    KVM_IOREGION_POSTED_WRITES, KVM_SET_IOREGION,
};
use kvm_ioctls::VmFd;
use vmm_sys_util::ioctl::ioctl_with_ref;

use crate::channel::Endpoint;

pub use failed_access::{complete, failure};

/// Which address space a region is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// Guest physical memory.
    Mmio,
    /// Ports.
    Pio,
}

/// A range of guest addresses whose accesses go to a device process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Which address space.
    pub bus: Bus,
    /// Its first address.
    pub address: u64,
    /// Bytes; 0 makes a doorbell: any write to exactly the address.
    pub size: u64,
    /// Handed back in every command.
    pub user_data: u64,
    /// Writes do not wait for the device.
    pub posted_writes: bool,
}

impl Region {
    fn to_kvm(self, channel: Option<&Endpoint>, deassign: u32) -> KvmIoregion {
        let fd = |fd: Option<i32>| fd.unwrap_or(-1);
        let pio = if self.bus == Bus::Pio {
            KVM_IOREGION_PIO
        } else {
            0
        };
        let posted = if self.posted_writes {
            KVM_IOREGION_POSTED_WRITES
        } else {
            0
        };
        KvmIoregion {
            guest_paddr: self.address,
            memory_size: self.size,
            user_data: self.user_data,
            read_fd: fd(channel.map(|c| c.read_fd().as_raw_fd())),
            write_fd: fd(channel.map(|c| c.write_fd().as_raw_fd())),
            flags: pio | posted | deassign,
            pad: [0; 28],
        }
    }
}

/// This kernel can hand accesses of this VM to a device process: `ioregion.ko` is loaded and has
/// the API version of this library.
pub fn supported(vm: &VmFd) -> bool {
    vm.check_extension_raw(KVM_CAP_IOREGIONFD.into()) == API_VERSION as i32
}

/// Gives KVM a region and its end of the channel. KVM keeps its own references to the
/// descriptors; drop `kvm_end` afterwards, or KVM's hanging up will not show to the device.
///
/// # Errors
///
/// `EINVAL` (flags, wrapping range, doorbell without posted writes), `EEXIST` (overlap), `EBADF`,
/// `ENOSPC`, `ENOTTY` (no `ioregion.ko`): see `Documentation/ioregion.md`.
pub fn set_region(vm: &VmFd, region: &Region, kvm_end: &Endpoint) -> io::Result<()> {
    set_ioregion(vm, &region.to_kvm(Some(kvm_end), 0))
}

/// Takes a region away. Accesses that wait for its device end in
/// `KVM_EXIT_IOREGIONFD_FAILURE`.
///
/// # Errors
///
/// `ENOENT` when there is no region of exactly this bus, address and size.
pub fn remove_region(vm: &VmFd, region: &Region) -> io::Result<()> {
    set_ioregion(vm, &region.to_kvm(None, KVM_IOREGION_DEASSIGN))
}

fn set_ioregion(vm: &VmFd, argument: &KvmIoregion) -> io::Result<()> {
    // SAFETY: the kernel reads one `KvmIoregion` and writes nothing to this process's memory.
    match unsafe { ioctl_with_ref(vm, KVM_SET_IOREGION.into(), argument) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

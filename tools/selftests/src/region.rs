// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `KVM_SET_IOREGION`, raw: tests also pass what no sane VMM would.

use std::io;
use std::os::fd::AsRawFd;

use ioregion_wire::uapi::{
    KvmIoregion, KVM_IOREGION_DEASSIGN, KVM_IOREGION_PIO, KVM_IOREGION_POSTED_WRITES,
    KVM_SET_IOREGION,
};
use kvm_ioctls::VmFd;

use crate::channel::KvmEnd;

/// Guest physical address of the region in most tests: page-aligned, no RAM near.
pub(crate) const MMIO: u64 = 0xd000_0000;
/// First port of the region in most tests.
pub(crate) const PORT: u16 = 0x600;
/// `user_data` in most tests.
pub(crate) const USER_DATA: u64 = 0xfeed_f00d_0123_4567;

/// An MMIO region.
pub(crate) fn mmio(guest_paddr: u64, memory_size: u64, end: &KvmEnd) -> KvmIoregion {
    KvmIoregion {
        guest_paddr,
        memory_size,
        user_data: USER_DATA,
        read_fd: end.read_fd(),
        write_fd: end.write_fd(),
        flags: end.flags(),
        ..Default::default()
    }
}

/// The MMIO region of most tests: a page.
pub(crate) fn page(end: &KvmEnd) -> KvmIoregion {
    mmio(MMIO, 0x1000, end)
}

/// A port I/O region.
pub(crate) fn pio(port: u16, size: u64, end: &KvmEnd) -> KvmIoregion {
    let mut region = mmio(port.into(), size, end);
    region.flags |= KVM_IOREGION_PIO;
    region
}

/// The same region with posted writes.
pub(crate) fn posted(mut region: KvmIoregion) -> KvmIoregion {
    region.flags |= KVM_IOREGION_POSTED_WRITES;
    region
}

/// Issues the ioctl.
pub(crate) fn set(vm: &VmFd, region: &KvmIoregion) -> io::Result<()> {
    set_at(vm, region)
}

/// Issues the ioctl to remove the region of this address, size and bus.
pub(crate) fn deassign(vm: &VmFd, region: &KvmIoregion) -> io::Result<()> {
    let region = KvmIoregion {
        guest_paddr: region.guest_paddr,
        memory_size: region.memory_size,
        read_fd: -1,
        write_fd: -1,
        flags: region.flags & KVM_IOREGION_PIO | KVM_IOREGION_DEASSIGN,
        ..Default::default()
    };
    set_at(vm, &region)
}

/// Issues the ioctl with any address as its argument.
pub(crate) fn set_at(vm: &VmFd, argument: *const KvmIoregion) -> io::Result<()> {
    // SAFETY: the kernel reads the argument through copy_from_user: an address that is not
    // mapped is EFAULT, and nothing is written or kept.
    let result = unsafe { libc::ioctl(vm.as_raw_fd(), KVM_SET_IOREGION.into(), argument) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

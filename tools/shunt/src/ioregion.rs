// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! KVM's side of ioregionfd for a VMM: is it there, give it a region, complete what it could not.

mod failed_access;
mod rules;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use ioregion_wire::uapi::{
    KvmIoregion, KvmIoregionChannel, API_VERSION, KVM_CAP_IOREGIONFD, KVM_CREATE_IOREGION_CHANNEL,
    KVM_IOREGION_CHANNEL, KVM_IOREGION_DEASSIGN, KVM_IOREGION_PIO, KVM_IOREGION_POSTED_WRITES,
    KVM_SET_IOREGION,
};
use kvm_ioctls::VmFd;
use vmm_sys_util::ioctl::ioctl_with_ref;

use crate::channel::{ChannelEnd, Endpoint};

pub use failed_access::{complete, failure};
pub use rules::{set_rules, Action, Doorbell, Rule};

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
    /// A device that takes longer for an access has failed: the access fails with `ETIMEDOUT`.
    /// `None`: it may take for ever. Whole milliseconds, rounded up, up to 49 days.
    pub timeout: Option<Duration>,
}

/// KVM's end of a channel, borrowed.
#[derive(Clone, Copy, Debug)]
pub enum KvmEnd<'a> {
    /// One that carries frames.
    Frames(&'a Endpoint),
    /// One in shared memory, of [`create_channel`].
    Ring(BorrowedFd<'a>),
}

impl<'a> From<&'a Endpoint> for KvmEnd<'a> {
    fn from(end: &'a Endpoint) -> Self {
        Self::Frames(end)
    }
}

impl<'a> From<&'a ChannelEnd> for KvmEnd<'a> {
    fn from(end: &'a ChannelEnd) -> Self {
        match end {
            ChannelEnd::Frames(end) => Self::Frames(end),
            ChannelEnd::Ring(channel) => Self::Ring(channel.as_fd()),
        }
    }
}

impl KvmEnd<'_> {
    /// What KVM reads, what it writes, and the flag that says what they are.
    fn to_kvm(self) -> (i32, i32, u32) {
        match self {
            Self::Frames(end) => (end.read_fd().as_raw_fd(), end.write_fd().as_raw_fd(), 0),
            Self::Ring(channel) => (-1, channel.as_raw_fd(), KVM_IOREGION_CHANNEL),
        }
    }
}

impl Region {
    fn to_kvm(self, (read_fd, write_fd, flags): (i32, i32, u32)) -> KvmIoregion {
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
            read_fd,
            write_fd,
            flags: pio | posted | flags,
            timeout_ms: self.timeout.map_or(0, milliseconds),
            ..Default::default()
        }
    }
}

/// At least one: none would be for ever.
fn milliseconds(timeout: Duration) -> u32 {
    let whole = timeout.as_nanos().div_ceil(1_000_000).max(1);
    u32::try_from(whole).unwrap_or(u32::MAX)
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
pub fn set_region<'a>(
    vm: &VmFd,
    region: &Region,
    kvm_end: impl Into<KvmEnd<'a>>,
) -> io::Result<()> {
    set_ioregion(vm, &region.to_kvm(kvm_end.into().to_kvm()))
}

/// Makes a channel in shared memory for regions of this VM, with `slots` slots in its ring (a
/// power of two) and a line for each of the vCPUs 0 to `vcpus` - 1. No other vCPU may use it.
///
/// The one descriptor is both ends: pass it to [`set_region`] and to the device process, then
/// close it. When no process has it any more, the device is gone for KVM.
///
/// # Errors
///
/// `EINVAL` (dimensions), `ENOMEM`, `EMFILE`, `ENOTTY` (no `ioregion.ko`, or one without
/// channels).
pub fn create_channel(vm: &VmFd, slots: u32, vcpus: u32) -> io::Result<OwnedFd> {
    let argument = KvmIoregionChannel {
        slots,
        vcpus,
        ..Default::default()
    };
    // SAFETY: The kernel reads one `KvmIoregionChannel`, and touches no other memory.
    let fd = unsafe { ioctl_with_ref(vm, KVM_CREATE_IOREGION_CHANNEL.into(), &argument) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: The kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes a region away. Accesses that wait for its device end in
/// `KVM_EXIT_IOREGIONFD_FAILURE`.
///
/// # Errors
///
/// `ENOENT` when there is no region of exactly this bus, address and size.
pub fn remove_region(vm: &VmFd, region: &Region) -> io::Result<()> {
    set_ioregion(vm, &region.to_kvm((-1, -1, KVM_IOREGION_DEASSIGN)))
}

fn set_ioregion(vm: &VmFd, argument: &KvmIoregion) -> io::Result<()> {
    // SAFETY: the kernel reads one `KvmIoregion` and writes nothing to this process's memory.
    match unsafe { ioctl_with_ref(vm, KVM_SET_IOREGION.into(), argument) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_out_is_never_none_by_accident() {
        for (timeout, want) in [
            (Duration::ZERO, 1),
            (Duration::from_nanos(1), 1),
            (Duration::from_millis(1), 1),
            (Duration::from_micros(1001), 2),
            (Duration::MAX, u32::MAX),
        ] {
            assert_eq!(milliseconds(timeout), want, "{timeout:?}");
        }
    }
}

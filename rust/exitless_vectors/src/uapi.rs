// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Mirror of `include/uapi/linux/exitless.h`; names and layouts are the header's.

use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout, //
};

/// Type byte of the ioctls.
pub const EXITLESS_IO: u32 = 0xe1;
/// `_IOW(0xe1, 0, __s32)`: make the open file that of a VM, given by its descriptor.
pub const EXITLESS_ATTACH: u32 = write_only(0, size_of::<i32>());
/// `_IOWR(0xe1, 1, struct exitless_arm)`: deliver an interrupt directly.
pub const EXITLESS_ARM: u32 = READ | write_only(1, size_of::<ExitlessArm>());
/// `_IOW(0xe1, 2, __u32)`: no longer deliver the interrupt of this GSI directly.
pub const EXITLESS_DISARM: u32 = write_only(2, size_of::<u32>());

/// [`ExitlessArm::flags`]: the guest exits for each EOI; for comparison.
pub const EXITLESS_DELIVERY_ONLY: u32 = 1 << 0;
/// [`ExitlessArm::flags`]: even if no other CPU can end runs in which the guest keeps interrupts off.
pub const EXITLESS_UNWATCHED: u32 = 1 << 1;

const READ: u32 = 2 << 30;

const fn write_only(number: u32, size: usize) -> u32 {
    (1 << 30) | ((size as u32) << 16) | (EXITLESS_IO << 8) | number
}

/// Argument of [`EXITLESS_ARM`].
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct ExitlessArm {
    /// The eventfd that the device's interrupt signals, and that is the VM's irqfd.
    pub eventfd: i32,
    /// Out: the GSI that the irqfd raises.
    pub gsi: u32,
    /// [`EXITLESS_DELIVERY_ONLY`], [`EXITLESS_UNWATCHED`].
    pub flags: u32,
    /// Out: why it was refused, if the call fails with `EOPNOTSUPP`.
    pub refusal: u32,
}

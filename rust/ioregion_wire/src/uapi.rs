// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Mirror of `include/uapi/linux/ioregion.h`; names and layouts are the header's.

use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout, //
};

/// `KVM_CHECK_EXTENSION` number; the answer is [`API_VERSION`] when `ioregion.ko` is loaded.
pub const KVM_CAP_IOREGIONFD: u32 = 0x10f8;
/// `IOREGIONFD_API_VERSION`: what the capability check answers.
pub const API_VERSION: u32 = 2;

/// Type byte of KVM's ioctls, `KVMIO`.
pub const KVMIO: u32 = 0xAE;
/// Number byte of `KVM_SET_IOREGION`.
pub const KVM_SET_IOREGION_NR: u32 = 0xf8;
/// The whole ioctl number: `_IOW(KVMIO, 0xf8, struct kvm_ioregion)`.
pub const KVM_SET_IOREGION: u32 =
    (1 << 30) | ((size_of::<KvmIoregion>() as u32) << 16) | (KVMIO << 8) | KVM_SET_IOREGION_NR;

/// The region is on the port I/O bus, not in guest physical memory.
pub const KVM_IOREGION_PIO: u32 = 1 << 0;
/// Writes do not wait for a reply.
pub const KVM_IOREGION_POSTED_WRITES: u32 = 1 << 1;
/// Remove the region of exactly this address and size.
pub const KVM_IOREGION_DEASSIGN: u32 = 1 << 2;

/// `write_fd` is a channel; there is no `read_fd`.
pub const KVM_IOREGION_CHANNEL: u32 = 1 << 3;

/// Number byte of `KVM_CREATE_IOREGION_CHANNEL`.
pub const KVM_CREATE_IOREGION_CHANNEL_NR: u32 = 0xf9;
/// The whole ioctl number: `_IOW(KVMIO, 0xf9, struct kvm_ioregion_channel)`.
pub const KVM_CREATE_IOREGION_CHANNEL: u32 = (1 << 30)
    | ((size_of::<KvmIoregionChannel>() as u32) << 16)
    | (KVMIO << 8)
    | KVM_CREATE_IOREGION_CHANNEL_NR;
/// `ioctl` of a channel: wake a vCPU, then sleep until an access is in the ring.
pub const IOREGION_CHANNEL_WAIT: u32 = (KVMIO << 8) | 0xfa;
/// `ioctl` of a channel: wake a vCPU.
pub const IOREGION_CHANNEL_WAKE: u32 = (KVMIO << 8) | 0xfb;
/// Argument of both: no vCPU.
pub const IOREGION_CHANNEL_NO_VCPU: u32 = u32::MAX;
/// Offset at which a channel's device area is mapped.
pub const IOREGION_CHANNEL_DEVICE_AREA: u64 = 1 << 30;

/// Number byte of `KVM_SET_IOREGION_RULES`.
pub const KVM_SET_IOREGION_RULES_NR: u32 = 0xfc;
/// The whole ioctl number: `_IOW(KVMIO, 0xfc, struct kvm_ioregion_rules)`.
pub const KVM_SET_IOREGION_RULES: u32 = (1 << 30)
    | ((size_of::<KvmIoregionRules>() as u32) << 16)
    | (KVMIO << 8)
    | KVM_SET_IOREGION_RULES_NR;
/// Most rules of a region.
pub const KVM_IOREGION_MAX_RULES: usize = 64;
/// Most bytes of a region with registers.
pub const KVM_IOREGION_MAX_REGISTERS: u64 = 65536;
/// [`KvmIoregionRule::kind`]: a read loads the register at `offset`, a write stores it.
pub const KVM_IOREGION_RULE_PLAIN: u32 = 0;
/// [`KvmIoregionRule::kind`]: a write clears the bits that are set in its data in the register
/// at `target`.
pub const KVM_IOREGION_RULE_W1C: u32 = 1;
/// [`KvmIoregionRule::kind`]: a write signals the eventfd `fd`, or is posted to the device.
pub const KVM_IOREGION_RULE_DOORBELL: u32 = 2;
/// [`KvmIoregionRule::flags`]: matches reads.
pub const KVM_IOREGION_RULE_READ: u32 = 1 << 0;
/// [`KvmIoregionRule::flags`]: matches writes.
pub const KVM_IOREGION_RULE_WRITE: u32 = 1 << 1;
/// [`KvmIoregionRule::flags`]: matches only writes of `datamatch`.
pub const KVM_IOREGION_RULE_DATAMATCH: u32 = 1 << 2;

/// Most regions on one bus of a VM.
pub const KVM_IOREGION_MAX: usize = 1000;

/// `kvm_run.exit_reason` when a region's device did not complete an access.
pub const KVM_EXIT_IOREGIONFD_FAILURE: u32 = 0x10f8;
/// In [`KvmIoregionfdFailure::flags`]: the device may have seen the access.
pub const IOREGIONFD_FAILURE_SENT: u32 = 1 << 31;

/// `struct kvm_ioregion`: argument of `KVM_SET_IOREGION`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct KvmIoregion {
    /// Guest physical address, or port.
    pub guest_paddr: u64,
    /// Bytes; 0 makes a doorbell: any write to exactly this address.
    pub memory_size: u64,
    /// Handed back in every command.
    pub user_data: u64,
    /// KVM reads replies here.
    pub read_fd: i32,
    /// KVM writes commands here.
    pub write_fd: i32,
    /// `KVM_IOREGION_*`.
    pub flags: u32,
    /// Milliseconds after which a device that has not answered has failed; 0: it may take for
    /// ever.
    pub timeout_ms: u32,
    /// Must be zero.
    pub pad: [u8; 24],
}

/// `struct kvm_ioregion_channel`: argument of `KVM_CREATE_IOREGION_CHANNEL`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct KvmIoregionChannel {
    /// Slots of the ring: a power of two, up to 4096.
    pub slots: u32,
    /// vCPUs that may use it, up to 1024.
    pub vcpus: u32,
    /// Must be zero.
    pub flags: u32,
    /// Must be zero.
    pub pad: u32,
}

/// `struct kvm_ioregion_rule`: what becomes of an access without the device.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct KvmIoregionRule {
    /// In the region, a multiple of `size`.
    pub offset: u32,
    /// Bytes: 1, 2, 4 or 8.
    pub size: u32,
    /// `KVM_IOREGION_RULE_PLAIN`, `_W1C` or `_DOORBELL`.
    pub kind: u32,
    /// `KVM_IOREGION_RULE_READ`, `_WRITE`, `_DATAMATCH`.
    pub flags: u32,
    /// Write-1-to-clear: offset of the register, a multiple of `size`; else 0.
    pub target: u32,
    /// Doorbell: an eventfd, or -1; else -1.
    pub fd: i32,
    /// 0 without `KVM_IOREGION_RULE_DATAMATCH`.
    pub datamatch: u64,
}

/// `struct kvm_ioregion_rules`: argument of `KVM_SET_IOREGION_RULES`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct KvmIoregionRules {
    /// Address of the region, as it was set.
    pub guest_paddr: u64,
    /// Size of the region, as it was set.
    pub memory_size: u64,
    /// Address of the registers of plain and W1C rules, at a page boundary; 0: none.
    pub registers: u64,
    /// Address of the [`KvmIoregionRule`]s.
    pub rules: u64,
    /// How many there are; 0 removes all rules.
    pub nr_rules: u32,
    /// [`KVM_IOREGION_PIO`] as of the region, else zero.
    pub flags: u32,
    /// Must be zero.
    pub pad: [u8; 24],
}

/// `struct kvm_ioregionfd_failure`: overlays `kvm_run.mmio` and `kvm_run.io`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct KvmIoregionfdFailure {
    /// `kvm_run.mmio` or `kvm_run.io`: the whole access.
    pub access: [u8; 32],
    /// Address of the region, as it was set.
    pub guest_paddr: u64,
    /// Size of the region, as it was set.
    pub memory_size: u64,
    /// `user_data` of the region.
    pub user_data: u64,
    /// Offset of the failed piece in the region.
    pub offset: u64,
    /// Data of a write, zero-extended.
    pub data: u64,
    /// Bytes of the failed piece: 1, 2, 4 or 8; 0 for a doorbell.
    pub size: u32,
    /// 1 for a write.
    pub is_write: u32,
    /// Bytes of the access that are complete.
    pub done: u32,
    /// Positive errno.
    pub error: i32,
    /// The region's `KVM_IOREGION_*`, and [`IOREGIONFD_FAILURE_SENT`].
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
}

/// Byte offset of `kvm_run.mmio` and `kvm_run.io`, and so of [`KvmIoregionfdFailure`], in
/// `struct kvm_run`.
pub const KVM_RUN_UNION_OFFSET: usize = 32;

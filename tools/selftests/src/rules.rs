// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `KVM_SET_IOREGION_RULES`, raw: tests also pass what no sane VMM would.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use ioregion_wire::uapi::{
    KvmIoregion, KvmIoregionRule, KvmIoregionRules, KVM_IOREGION_PIO, KVM_IOREGION_RULE_DATAMATCH,
    KVM_IOREGION_RULE_DOORBELL, KVM_IOREGION_RULE_PLAIN, KVM_IOREGION_RULE_READ,
    KVM_IOREGION_RULE_W1C, KVM_IOREGION_RULE_WRITE, KVM_SET_IOREGION_RULES,
};
use kvm_ioctls::VmFd;
use rawguest::{Memory, Width};

/// Both directions of a plain rule.
pub(crate) const BOTH: u32 = KVM_IOREGION_RULE_READ | KVM_IOREGION_RULE_WRITE;
/// The `fd` of a doorbell that goes to the device, and of every other rule.
pub(crate) const NO_FD: RawFd = -1;

/// A register that is memory, for the directions in `flags`.
pub(crate) fn plain(width: Width, offset: u32, flags: u32) -> KvmIoregionRule {
    KvmIoregionRule {
        offset,
        size: width.bytes() as u32,
        kind: KVM_IOREGION_RULE_PLAIN,
        flags,
        fd: NO_FD,
        ..Default::default()
    }
}

/// A write at `offset` clears bits at `target`.
pub(crate) fn w1c(width: Width, offset: u32, target: u32) -> KvmIoregionRule {
    KvmIoregionRule {
        kind: KVM_IOREGION_RULE_W1C,
        target,
        ..plain(width, offset, KVM_IOREGION_RULE_WRITE)
    }
}

/// A write signals an eventfd, or is posted with [`NO_FD`].
pub(crate) fn doorbell(width: Width, offset: u32, fd: RawFd) -> KvmIoregionRule {
    KvmIoregionRule {
        kind: KVM_IOREGION_RULE_DOORBELL,
        fd,
        ..plain(width, offset, KVM_IOREGION_RULE_WRITE)
    }
}

/// Only writes of this value.
pub(crate) fn matching(rule: KvmIoregionRule, datamatch: u64) -> KvmIoregionRule {
    KvmIoregionRule {
        flags: rule.flags | KVM_IOREGION_RULE_DATAMATCH,
        datamatch,
        ..rule
    }
}

/// The argument that gives the region these rules, with registers at an address.
pub(crate) fn argument(
    region: &KvmIoregion,
    registers: u64,
    rules: &[KvmIoregionRule],
) -> KvmIoregionRules {
    KvmIoregionRules {
        guest_paddr: region.guest_paddr,
        memory_size: region.memory_size,
        registers,
        rules: rules.as_ptr() as u64,
        nr_rules: rules.len() as u32,
        flags: region.flags & KVM_IOREGION_PIO,
        ..Default::default()
    }
}

/// Gives the region these rules, and its registers if they need any.
pub(crate) fn set(
    vm: &VmFd,
    region: &KvmIoregion,
    registers: Option<&Memory>,
    rules: &[KvmIoregionRule],
) -> io::Result<()> {
    let registers = registers.map_or(0, Memory::host_address);
    set_at(vm, &argument(region, registers, rules))
}

/// Issues the ioctl with any address as its argument.
pub(crate) fn set_at(vm: &VmFd, argument: *const KvmIoregionRules) -> io::Result<()> {
    // SAFETY: the kernel reads argument and rules through copy_from_user: an address that is
    // not mapped is EFAULT. Registers that it pins are shared memory, which all of this process
    // access atomically or through volatile copies.
    let result = unsafe { libc::ioctl(vm.as_raw_fd(), KVM_SET_IOREGION_RULES.into(), argument) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

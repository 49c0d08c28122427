// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Arguments that are right, nearly right, or nonsense.

use std::os::fd::RawFd;

use fastrand::Rng;
use ioregion_wire::uapi::{
    KvmIoregion, KvmIoregionChannel, KvmIoregionRule, KvmIoregionRules, KVM_IOREGION_CHANNEL,
    KVM_IOREGION_DEASSIGN, KVM_IOREGION_PIO, KVM_IOREGION_POSTED_WRITES,
};
use kvm_bindings::{kvm_ioeventfd, kvm_userspace_memory_region};

use crate::regions::{MMIO, PORT, SIZE};

/// A file of the attacker's, or a number that may be anything.
pub(super) fn file(rng: &mut Rng, files: &[RawFd]) -> RawFd {
    match rng.choice(files) {
        Some(file) if rng.u32(0..16) != 0 => *file,
        _ => rng.i32(-2..40),
    }
}

/// An address and a size that others use, too.
fn range(rng: &mut Rng, is_pio: bool) -> (u64, u64) {
    let (start, unit) = match is_pio {
        true => (PORT, 0x40),
        false => (MMIO, SIZE / 2),
    };
    let size = match rng.u32(0..10) {
        0 => 0,
        1 => rng.u64(..),
        2 => 1 << rng.u32(0..4),
        _ => unit * rng.u64(1..4),
    };
    (start + unit * rng.u64(0..6), size)
}

/// Argument of `KVM_SET_IOREGION`.
pub(super) fn region(rng: &mut Rng, files: &[RawFd], removes: bool) -> KvmIoregion {
    let is_pio = rng.u32(0..4) == 0;
    let (guest_paddr, memory_size) = range(rng, is_pio);
    let mut flags = match is_pio {
        true => KVM_IOREGION_PIO,
        false => 0,
    };
    for (flag, one_in) in [
        (KVM_IOREGION_POSTED_WRITES, 2),
        (KVM_IOREGION_CHANNEL, 2),
        (1 << rng.u32(0..32), 32),
    ] {
        if rng.u32(0..one_in) == 0 {
            flags |= flag;
        }
    }
    if removes {
        flags = flags & KVM_IOREGION_PIO | KVM_IOREGION_DEASSIGN;
    }
    let write_fd = file(rng, files);
    let read_fd = match rng.u32(0..3) {
        0 => file(rng, files),
        _ => write_fd,
    };
    let mut region = KvmIoregion {
        guest_paddr,
        memory_size,
        user_data: rng.u64(..),
        read_fd,
        write_fd,
        flags,
        timeout_ms: [0, 0, 1, 5, u32::MAX][rng.usize(0..5)],
        ..Default::default()
    };
    if removes {
        region.timeout_ms = 0;
    }
    if rng.u32(0..64) == 0 {
        region.pad[rng.usize(0..24)] = 1;
    }
    region
}

/// Argument of `KVM_CREATE_IOREGION_CHANNEL`.
pub(super) fn channel(rng: &mut Rng) -> KvmIoregionChannel {
    let mut channel = KvmIoregionChannel {
        slots: 1 << rng.u32(0..14),
        vcpus: rng.u32(0..5),
        ..Default::default()
    };
    match rng.u32(0..32) {
        0 => channel.slots = rng.u32(..),
        1 => channel.vcpus = rng.u32(..1030),
        2 => channel.flags = rng.u32(..),
        3 => channel.pad = rng.u32(..),
        _ => {}
    }
    channel
}

/// Some rules, as right as their offsets happen to be.
pub(super) fn rules(rng: &mut Rng, files: &[RawFd]) -> Vec<KvmIoregionRule> {
    let rule = |rng: &mut Rng| {
        let size = [1, 2, 4, 8, 4, 4, rng.u32(..)][rng.usize(0..7)];
        let kind = rng.u32(0..4).min(rng.u32(0..4));
        let flags = match rng.u32(0..8) {
            0 => rng.u32(..),
            _ => [1, 2, 3, 2 | 4][rng.usize(0..4)],
        };
        KvmIoregionRule {
            offset: size.saturating_mul(rng.u32(0..32)),
            size,
            kind,
            flags,
            target: match kind {
                1 => size.saturating_mul(rng.u32(0..32)),
                _ => 0,
            },
            fd: match kind {
                2 => file(rng, files),
                _ => -1,
            },
            datamatch: match flags & 4 {
                0 => 0,
                _ => rng.u64(0..4),
            },
        }
    };
    (0..rng.usize(0..10)).map(|_| rule(rng)).collect()
}

/// Argument of `KVM_SET_IOREGION_RULES` with these rules.
pub(super) fn rule_table(
    rng: &mut Rng,
    rules: &[KvmIoregionRule],
    registers: u64,
) -> KvmIoregionRules {
    let is_pio = rng.u32(0..6) == 0;
    let (guest_paddr, memory_size) = range(rng, is_pio);
    let mut table = KvmIoregionRules {
        guest_paddr,
        memory_size,
        registers: registers + 4096 * rng.u64(0..4),
        rules: rules.as_ptr() as u64,
        nr_rules: rules.len() as u32,
        flags: match is_pio {
            true => KVM_IOREGION_PIO,
            false => 0,
        },
        ..Default::default()
    };
    match rng.u32(0..32) {
        0 => table.registers = rng.u64(..),
        1 => table.registers += 8,
        2 => table.rules = rng.u64(..),
        3 => table.nr_rules = rng.u32(..),
        4 => table.flags = rng.u32(..),
        5 => table.pad[rng.usize(0..24)] = 1,
        _ => {}
    }
    table
}

/// Argument of `KVM_SET_USER_MEMORY_REGION`, over the regions.
pub(super) fn slot(rng: &mut Rng, memory: u64) -> kvm_userspace_memory_region {
    kvm_userspace_memory_region {
        // Slot 0 is the guest's RAM.
        slot: rng.u32(1..4),
        flags: rng.u32(0..4),
        guest_phys_addr: MMIO + SIZE * rng.u64(0..4),
        memory_size: SIZE * rng.u64(0..4),
        userspace_addr: memory + SIZE * rng.u64(0..8),
    }
}

/// Argument of `KVM_IOEVENTFD`, inside of the regions.
pub(super) fn ioeventfd(rng: &mut Rng, files: &[RawFd]) -> kvm_ioeventfd {
    let is_pio = rng.u32(0..4) == 0;
    let (addr, _) = range(rng, is_pio);
    kvm_ioeventfd {
        datamatch: rng.u64(0..3),
        addr,
        len: [0, 1, 2, 4, 8, 3][rng.usize(0..6)],
        fd: file(rng, files),
        // Datamatch, PIO, deassign.
        flags: rng.u32(0..2) | u32::from(is_pio) << 1 | rng.u32(0..2) << 2,
        ..Default::default()
    }
}

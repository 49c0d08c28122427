// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The victims' regions: where they are, and what rules KVM has for them.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use anyhow::{Context, Result};
use fastrand::Rng;
use ioregion_wire::uapi::{
    KvmIoregion, KvmIoregionRule, KvmIoregionRules, KVM_IOREGION_CHANNEL, KVM_IOREGION_DEASSIGN,
    KVM_IOREGION_PIO, KVM_IOREGION_POSTED_WRITES, KVM_IOREGION_RULE_DOORBELL,
    KVM_IOREGION_RULE_PLAIN, KVM_IOREGION_RULE_READ, KVM_IOREGION_RULE_W1C,
    KVM_IOREGION_RULE_WRITE, KVM_SET_IOREGION, KVM_SET_IOREGION_RULES,
};
use kvm_ioctls::VmFd;
use rawguest::{Asm, Mem, Reg, Width};
use shunt::channel::ChannelEnd;

use crate::sys::{self, Mapping};

/// Guest physical address of the first region.
pub(crate) const MMIO: u64 = 0xd000_0000;
/// Bytes of each region in memory.
pub(crate) const SIZE: u64 = 0x1000;
/// First port of the region of ports, and their number.
pub(crate) const PORT: u64 = 0x600;
const PORTS: u64 = 0x100;
/// The bystander's region.
pub(crate) const ASIDE: u64 = MMIO + 16 * SIZE;
/// What the victims access most: registers of 4 bytes, every other one with a rule.
const REGISTERS: u64 = 32;

/// Where the victims' regions are: one whose writes are answered, one whose are not, ports.
pub(crate) fn victims() -> [KvmIoregion; 3] {
    [
        region(MMIO, SIZE, 0),
        region(MMIO + SIZE, SIZE, KVM_IOREGION_POSTED_WRITES),
        region(PORT, PORTS, KVM_IOREGION_PIO),
    ]
}

/// A region without a channel.
pub(crate) fn region(guest_paddr: u64, memory_size: u64, flags: u32) -> KvmIoregion {
    KvmIoregion {
        guest_paddr,
        memory_size,
        flags,
        user_data: guest_paddr,
        read_fd: -1,
        write_fd: -1,
        ..Default::default()
    }
}

/// Adds a region over a channel.
pub(crate) fn set(vm: &VmFd, region: &KvmIoregion, end: &ChannelEnd) -> Result<()> {
    let (reads, writes) = descriptors(end);
    let mut region = *region;
    (region.read_fd, region.write_fd) = (reads.as_raw_fd(), writes.as_raw_fd());
    if let ChannelEnd::Ring(_) = end {
        (region.read_fd, region.flags) = (-1, region.flags | KVM_IOREGION_CHANNEL);
    }
    sys::ioctl_read(vm.as_raw_fd(), KVM_SET_IOREGION, &region)
        .map(drop)
        .with_context(|| format!("set {region:x?}"))
}

/// Takes a region away.
pub(crate) fn remove(vm: &VmFd, region: &KvmIoregion) -> Result<()> {
    let flags = region.flags & KVM_IOREGION_PIO | KVM_IOREGION_DEASSIGN;
    let region = KvmIoregion {
        flags,
        timeout_ms: 0,
        ..*region
    };
    sys::ioctl_read(vm.as_raw_fd(), KVM_SET_IOREGION, &region)
        .map(drop)
        .with_context(|| format!("remove {region:x?}"))
}

/// The descriptors of an end: what it reads, and what it writes.
pub(crate) fn descriptors(end: &ChannelEnd) -> (BorrowedFd<'_>, BorrowedFd<'_>) {
    use std::os::fd::AsFd;
    match end {
        ChannelEnd::Ring(channel) => (channel.as_fd(), channel.as_fd()),
        ChannelEnd::Frames(end) => (end.read_fd(), end.write_fd()),
    }
}

/// Gives a region in memory rules of every kind. Its first register has none.
pub(crate) fn set_rules(
    vm: &VmFd,
    region: &KvmIoregion,
    registers: &Mapping,
    rng: &mut Rng,
) -> io::Result<()> {
    let rules: Vec<KvmIoregionRule> = (1..REGISTERS)
        .step_by(2)
        .map(|register| rule(rng, 4 * register as u32))
        .collect();
    let table = KvmIoregionRules {
        guest_paddr: region.guest_paddr,
        memory_size: region.memory_size,
        registers: registers.address(),
        rules: rules.as_ptr() as u64,
        nr_rules: rules.len() as u32,
        ..Default::default()
    };
    sys::ioctl_read(vm.as_raw_fd(), KVM_SET_IOREGION_RULES, &table).map(drop)
}

fn rule(rng: &mut Rng, offset: u32) -> KvmIoregionRule {
    let plain = KvmIoregionRule {
        offset,
        size: 4,
        kind: KVM_IOREGION_RULE_PLAIN,
        flags: KVM_IOREGION_RULE_READ | KVM_IOREGION_RULE_WRITE,
        fd: -1,
        ..Default::default()
    };
    let flags = KVM_IOREGION_RULE_WRITE;
    match rng.u32(0..3) {
        0 => plain,
        1 => KvmIoregionRule {
            kind: KVM_IOREGION_RULE_W1C,
            flags,
            target: 4 * rng.u32(0..REGISTERS as u32),
            ..plain
        },
        _ => KvmIoregionRule {
            kind: KVM_IOREGION_RULE_DOORBELL,
            flags,
            ..plain
        },
    }
}

/// One access to the regions in memory, or to the ports.
pub(crate) fn access_somewhere(program: &mut Asm, rng: &mut Rng) {
    const WIDTHS: [Width; 4] = [Width::Byte, Width::Word, Width::Long, Width::Quad];
    let (address, width) = match rng.bool() {
        true => (
            MMIO + SIZE * rng.u64(0..2) + 4 * rng.u64(0..REGISTERS),
            Width::Long,
        ),
        false => (MMIO + rng.u64(0..2 * SIZE - 8), WIDTHS[rng.usize(0..4)]),
    };
    let port = PORT + 8 * rng.u64(0..PORTS / 8);
    match rng.u32(0..8) {
        0 => program.mov(Reg::Dx, port).port_in(WIDTHS[rng.usize(0..3)]),
        1 => program.mov(Reg::Dx, port).port_out(WIDTHS[rng.usize(0..3)]),
        2..=4 => program
            .mov(Reg::Bx, address)
            .load(width, Reg::Ax, Mem::At(Reg::Bx)),
        _ => program
            .mov(Reg::Bx, address)
            .store(width, Mem::At(Reg::Bx), Reg::Ax),
    };
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the argument of `KVM_SET_IOREGION_RULES` may be, besides the rules in it.

use std::ptr;

use anyhow::{Context as _, Result};
use ioregion_wire::uapi::{
    KvmIoregion, KvmIoregionRules, KVM_IOREGION_MAX_REGISTERS, KVM_IOREGION_MAX_RULES,
    KVM_IOREGION_PIO, KVM_IOREGION_RULE_READ,
};
use libc::{EFAULT, EINVAL, ENOENT};
use rawguest::Width;

use super::api::{region, Fixture};
use crate::cases::api::fixture;
use crate::channel::open_ring;
use crate::check::expect_errno;
use crate::region::{deassign, mmio, pio, posted, set, MMIO, PORT};
use crate::ring::USUAL;
use crate::rules::{self, argument, doorbell, plain, set_at, NO_FD};
use crate::suite::{tests, Context};

tests!(
    "rules_argument",
    Ioregion,
    [
        bad_address_is_efault,
        unknown_flag_is_einval,
        padding_must_be_zero,
        unknown_region_is_enoent,
        bus_must_be_the_regions,
        too_many_rules,
        doorbell_region_takes_none,
        registers_must_be_at_a_page,
        registers_must_be_there,
        region_too_large_for_registers,
        no_rules_at_all,
    ]
);

/// An address that nothing is mapped at.
const NOWHERE: u64 = 0x1000;

fn bad_address_is_efault(_: &Context) -> Result<()> {
    let test = region()?;
    expect_errno(
        set_at(&test.vm, ptr::null()),
        EFAULT,
        "argument at address 0",
    )?;
    let nowhere = |nr_rules| KvmIoregionRules {
        rules: NOWHERE,
        nr_rules,
        ..argument(&test.region, 0, &[])
    };
    for nr_rules in [1, KVM_IOREGION_MAX_RULES as u32] {
        expect_errno(set_at(&test.vm, &nowhere(nr_rules)), EFAULT, "rules")?;
    }
    set_at(&test.vm, &nowhere(0)).context("no rules, at an address that is not mapped")
}

fn unknown_flag_is_einval(_: &Context) -> Result<()> {
    let test = region()?;
    let rules = [doorbell(Width::Long, 0, NO_FD)];
    for rules in [&rules[..], &[]] {
        for bit in 1..32 {
            let flagged = KvmIoregionRules {
                flags: 1 << bit,
                ..argument(&test.region, 0, rules)
            };
            let what = format!("flag bit {bit}, {} rules", rules.len());
            expect_errno(set_at(&test.vm, &flagged), EINVAL, &what)?;
        }
    }
    Ok(())
}

fn padding_must_be_zero(_: &Context) -> Result<()> {
    let test = region()?;
    let rules = [doorbell(Width::Long, 0, NO_FD)];
    for at in 0..argument(&test.region, 0, &rules).pad.len() {
        let mut padded = argument(&test.region, 0, &rules);
        padded.pad[at] = 1;
        expect_errno(set_at(&test.vm, &padded), EINVAL, &format!("pad[{at}]"))?;
    }
    set_at(&test.vm, &argument(&test.region, 0, &rules)).context("zero padding")
}

/// Address and size must be exactly the region's, and the region there.
fn unknown_region_is_enoent(_: &Context) -> Result<()> {
    let test = region()?;
    let rules = [doorbell(Width::Byte, 0, NO_FD)];
    let KvmIoregion {
        guest_paddr: at,
        memory_size: size,
        ..
    } = test.region;
    for (guest_paddr, memory_size) in [
        (at + 1, size),
        (at - 1, size),
        (at, size + 1),
        (at, size - 1),
        (at + size, size),
        (0, size),
    ] {
        for rules in [&rules[..], &[]] {
            let wrong = KvmIoregionRules {
                guest_paddr,
                memory_size,
                ..argument(&test.region, 0, rules)
            };
            let what = format!("{memory_size:#x} bytes at {guest_paddr:#x}");
            expect_errno(set_at(&test.vm, &wrong), ENOENT, &what)?;
        }
    }
    test.set(&rules).context("the region itself")?;
    deassign(&test.vm, &test.region)?;
    for rules in [&rules[..], &[]] {
        let result = rules::set(&test.vm, &test.region, None, rules);
        expect_errno(result, ENOENT, "removed region")?;
    }
    Ok(())
}

fn bus_must_be_the_regions(_: &Context) -> Result<()> {
    let (vm, end) = fixture()?;
    let rules = [doorbell(Width::Byte, 0, NO_FD)];
    let ports = pio(PORT, 8, &end);
    set(&vm, &ports)?;
    let memory = KvmIoregionRules {
        flags: 0,
        ..argument(&ports, 0, &rules)
    };
    expect_errno(set_at(&vm, &memory), ENOENT, "MMIO at a region of ports")?;
    set_at(&vm, &argument(&ports, 0, &rules)).context("ports")?;
    let memory = mmio(u64::from(PORT) + 8, 8, &end);
    set(&vm, &memory)?;
    let ports = KvmIoregionRules {
        flags: KVM_IOREGION_PIO,
        ..argument(&memory, 0, &rules)
    };
    expect_errno(set_at(&vm, &ports), ENOENT, "ports at a region of MMIO")
}

fn too_many_rules(_: &Context) -> Result<()> {
    let test = region()?;
    let rules: Vec<_> = (0..=KVM_IOREGION_MAX_RULES as u32)
        .map(|n| doorbell(Width::Byte, n, NO_FD))
        .collect();
    expect_errno(test.set(&rules), EINVAL, "65 rules")?;
    let most = KvmIoregionRules {
        nr_rules: u32::MAX,
        ..argument(&test.region, 0, &rules)
    };
    expect_errno(set_at(&test.vm, &most), EINVAL, "2^32 - 1 rules")?;
    test.set(&rules[1..]).context("64 rules")
}

fn doorbell_region_takes_none(_: &Context) -> Result<()> {
    let (vm, end) = fixture()?;
    let region = posted(mmio(MMIO, 0, &end));
    set(&vm, &region)?;
    let result = rules::set(&vm, &region, None, &[doorbell(Width::Byte, 0, NO_FD)]);
    expect_errno(result, EINVAL, "a rule for a doorbell region")
}

fn registers_must_be_at_a_page(_: &Context) -> Result<()> {
    let test = region()?;
    let start = test.registers.host_address();
    let rules = [plain(Width::Byte, 0, KVM_IOREGION_RULE_READ)];
    for off in [1, 8, 0x800, 0xfff] {
        let misaligned = argument(&test.region, start + off, &rules);
        let what = format!("registers {off:#x} behind a page boundary");
        expect_errno(set_at(&test.vm, &misaligned), EINVAL, &what)?;
    }
    expect_errno(
        set_at(&test.vm, &argument(&test.region, 0, &rules)),
        EINVAL,
        "no registers for a plain rule",
    )?;
    test.set(&rules).context("registers at a page boundary")
}

/// Each page of them, and writable.
fn registers_must_be_there(_: &Context) -> Result<()> {
    let Fixture { vm, region, .. } = region()?;
    let rules = [plain(Width::Byte, 0, KVM_IOREGION_RULE_READ)];
    let refuse = |address, what| {
        let result = set_at(&vm, &argument(&region, address, &rules));
        expect_errno(result, EFAULT, what)
    };
    refuse(NOWHERE, "registers that are not mapped")?;
    refuse(1 << 63, "registers in the kernel's half")?;
    refuse(u64::MAX << 12, "registers that wrap")?;
    let (_, ring) = open_ring(&vm, &USUAL)?;
    refuse(ring.kernel.address(), "registers in a channel's ring")?;
    refuse(
        (NO_WRITE.as_ptr() as u64).next_multiple_of(0x1000),
        "registers in read-only memory",
    )
}

/// A whole page of it lies in a read-only mapping.
static NO_WRITE: [u8; 8192] = [1; 8192];

fn region_too_large_for_registers(_: &Context) -> Result<()> {
    let (vm, end) = fixture()?;
    let region = mmio(MMIO, KVM_IOREGION_MAX_REGISTERS + 1, &end);
    set(&vm, &region)?;
    let registers = super::registers(region.memory_size)?;
    let plain = [plain(Width::Byte, 0, KVM_IOREGION_RULE_READ)];
    let result = rules::set(&vm, &region, Some(&registers), &plain);
    expect_errno(result, EINVAL, "registers of 64 KiB and a byte")?;
    let doorbells = [0, KVM_IOREGION_MAX_REGISTERS as u32];
    let doorbells = doorbells.map(|offset| doorbell(Width::Byte, offset, NO_FD));
    rules::set(&vm, &region, None, &doorbells).context("doorbells need no registers")
}

/// Also where there were none.
fn no_rules_at_all(_: &Context) -> Result<()> {
    let test = region()?;
    test.set(&[]).context("none, after none")?;
    test.set(&[doorbell(Width::Byte, 0, NO_FD)])?;
    test.set(&[]).context("none, after one")?;
    test.set(&[]).context("none, once more")
}

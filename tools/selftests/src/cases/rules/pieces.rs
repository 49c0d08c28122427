// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Accesses that KVM makes in several parts, and who else may want them.

use std::os::fd::AsRawFd;

use anyhow::{Context as _, Result};
use ioregion_wire::uapi::KVM_IOREGION_RULE_READ;
use kvm_ioctls::{IoEventAddress, NoDatamatch};
use rawguest::{ram, Asm, Mem, Reg, Width};
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

use super::{fixture, pattern, pattern_at, CARRIERS};
use crate::cases::access::VALUE;
use crate::channel::Transport;
use crate::check::check_eq;
use crate::guest::{read_command, write_command};
use crate::region::{MMIO, PORT};
use crate::rules::{doorbell, matching, plain, w1c, BOTH};
use crate::script::{values, Bus, Script};
use crate::suite::{tests, Context};

tests!(
    "rules_pieces",
    Ioregion,
    [
        both_halves_over_a_page,
        one_half_over_a_page,
        pieces_of_an_odd_fragment,
        half_of_sixteen_bytes,
        string_output_rings_for_each_element,
        string_input_reads_the_register_each_time,
        ioeventfd_wins,
    ]
);

const PAGE: u32 = 0x1000;
const TWO_PAGES: u64 = 0x2000;

fn both_halves_over_a_page(_: &Context) -> Result<()> {
    let at = PAGE - 4;
    let program = Script::new(Bus::Mmio)
        .read(Width::Quad, at)
        .write(Width::Quad, at, VALUE)
        .end();
    for transport in CARRIERS {
        let rules = [plain(Width::Long, at, BOTH), plain(Width::Long, PAGE, BOTH)];
        let mut test = fixture(transport, Bus::Mmio, TWO_PAGES, &rules, &program)?;
        test.expect_commands(&[], "both halves")?;
        check_eq!(values(&test.machine, 1)?, [pattern_at(at, 8)], "value");
        test.expect_registers(&[(at, &VALUE.to_le_bytes())], "both halves")?;
    }
    Ok(())
}

fn one_half_over_a_page(_: &Context) -> Result<()> {
    let at = PAGE - 4;
    let program = Script::new(Bus::Mmio)
        .read(Width::Quad, at)
        .write(Width::Quad, at, VALUE)
        .end();
    let bytes = VALUE.to_le_bytes();
    let device = VALUE & 0xffff_ffff;
    for (ruled, other) in [(at, PAGE), (PAGE, at)] {
        for transport in CARRIERS {
            let rules = [plain(Width::Long, ruled, BOTH)];
            let mut test = fixture(transport, Bus::Mmio, TWO_PAGES, &rules, &program)?;
            let what = format!("rule at {ruled:#x}, {transport:?}");
            let half = &bytes[(ruled - at) as usize..][..4];
            let others = &bytes[(other - at) as usize..][..4];
            let data = others.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b));
            let want = [
                read_command(Width::Long, other.into()),
                write_command(Width::Long, other.into(), data),
            ];
            test.expect_commands(&want, &what)?;
            let value = pattern_at(ruled, 4) << (8 * (ruled - at)) | device << (8 * (other - at));
            check_eq!(values(&test.machine, 1)?, [value], "value, {what}");
            test.expect_registers(&[(ruled, half)], &what)?;
        }
    }
    Ok(())
}

/// 1 byte on the first page; on the second 7, which go to the device as 4, 2 and 1: a rule is for
/// an access, not for such a piece.
fn pieces_of_an_odd_fragment(_: &Context) -> Result<()> {
    let at = PAGE - 1;
    let program = Script::new(Bus::Mmio)
        .read(Width::Quad, at)
        .write(Width::Quad, at, VALUE)
        .end();
    let rules = [plain(Width::Word, PAGE + 4, BOTH)];
    for transport in CARRIERS {
        let mut test = fixture(transport, Bus::Mmio, TWO_PAGES, &rules, &program)?;
        let what = format!("{transport:?}");
        let pieces = [
            (Width::Byte, at, VALUE),
            (Width::Long, PAGE, VALUE >> 8),
            (Width::Word, PAGE + 4, VALUE >> 40),
            (Width::Byte, PAGE + 6, VALUE >> 56),
        ];
        let reads = pieces.map(|(width, at, _)| read_command(width, at.into()));
        let writes = pieces.map(|(width, at, data)| write_command(width, at.into(), data));
        test.expect_commands(&[reads, writes].concat(), &what)?;
        test.expect_registers(&[], &what)?;
    }
    Ok(())
}

/// 16 bytes are two accesses of 8: the rule has the second.
fn half_of_sixteen_bytes(_: &Context) -> Result<()> {
    let mut program = Asm::long();
    program
        .mov(Reg::Bx, MMIO + 0x20)
        .load_sse(Mem::At(Reg::Bx))
        .mov(Reg::Bx, MMIO + 0x40)
        .store_sse(Mem::At(Reg::Bx))
        .halt();
    let rules = [
        plain(Width::Quad, 0x28, KVM_IOREGION_RULE_READ),
        w1c(Width::Quad, 0x48, 0x60),
    ];
    for transport in CARRIERS {
        let mut test = fixture(transport, Bus::Mmio, super::SIZE, &rules, &program)?;
        let want = [
            read_command(Width::Quad, 0x20),
            write_command(Width::Quad, 0x40, VALUE),
        ];
        test.expect_commands(&want, "16 bytes")?;
        let second = pattern_at(0x28, 8);
        let value = [VALUE.to_le_bytes(), second.to_le_bytes()].concat();
        check_eq!(test.vcpu.xmm0()?[..], value[..], "xmm0, {transport:?}");
        let left = (pattern_at(0x60, 8) & !second).to_le_bytes();
        test.expect_registers(&[(0x60, &left)], "16 bytes")?;
    }
    Ok(())
}

/// Those that the datamatch refuses go to the device, in order.
fn string_output_rings_for_each_element(_: &Context) -> Result<()> {
    const ELEMENTS: [u8; 9] = [7, 1, 7, 7, 2, 3, 7, 4, 7];
    let mut program = Asm::long();
    program
        .mov(Reg::Dx, u64::from(PORT) + 4)
        .mov(Reg::Cx, ELEMENTS.len() as u64)
        .mov(Reg::Si, ram::DATA);
    program.rep_outs(Width::Byte).halt();
    for transport in CARRIERS {
        let event = EventFd::new(EFD_NONBLOCK)?;
        let rules = [matching(doorbell(Width::Byte, 4, event.as_raw_fd()), 7)];
        let mut test = fixture(transport, Bus::Pio, 8, &rules, &program)?;
        test.machine.ram().write(ram::DATA, &ELEMENTS)?;
        let others = [1, 2, 3, 4].map(|data| write_command(Width::Byte, 4, data));
        test.expect_commands(&others, "elements that do not match")?;
        check_eq!(event.read().unwrap_or(0), 5, "eventfd, {transport:?}");
    }
    Ok(())
}

fn string_input_reads_the_register_each_time(_: &Context) -> Result<()> {
    const COUNT: usize = 1100;
    let mut program = Asm::long();
    program
        .mov(Reg::Dx, u64::from(PORT) + 4)
        .mov(Reg::Cx, COUNT as u64)
        .mov(Reg::Di, ram::DATA);
    program.rep_ins(Width::Word).halt();
    let rules = [plain(Width::Word, 4, KVM_IOREGION_RULE_READ)];
    for transport in CARRIERS {
        let mut test = fixture(transport, Bus::Pio, 8, &rules, &program)?;
        test.expect_commands(&[], "string input")?;
        let want = pattern(8)[4..6].repeat(COUNT);
        let got = test.machine.ram().read(ram::DATA, want.len())?;
        check_eq!(got, want, "RAM, {transport:?}");
    }
    Ok(())
}

/// An ioeventfd is on KVM's own bus, which comes first; what it refuses is the rule's.
fn ioeventfd_wins(_: &Context) -> Result<()> {
    for datamatch in [None, Some(7u32)] {
        let (own, ruled) = (EventFd::new(EFD_NONBLOCK)?, EventFd::new(EFD_NONBLOCK)?);
        let program = Script::new(Bus::Mmio)
            .write(Width::Long, 0x50, 7)
            .write(Width::Long, 0x50, 8)
            .end();
        let rules = [doorbell(Width::Long, 0x50, ruled.as_raw_fd())];
        let size = super::SIZE;
        let mut test = fixture(Transport::Seqpacket, Bus::Mmio, size, &rules, &program)?;
        let (vm, address) = (test.machine.fd(), IoEventAddress::Mmio(MMIO + 0x50));
        match datamatch {
            None => vm.register_ioevent(&own, &address, NoDatamatch),
            Some(value) => vm.register_ioevent(&own, &address, value),
        }
        .context("KVM_IOEVENTFD")?;
        test.expect_commands(&[], "ioeventfd and rule")?;
        let rings = [own.read().unwrap_or(0), ruled.read().unwrap_or(0)];
        let want = if datamatch.is_none() { [2, 0] } else { [1, 1] };
        check_eq!(rings, want, "ioeventfd and rule, datamatch {datamatch:?}");
    }
    Ok(())
}

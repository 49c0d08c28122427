// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Accesses that are not one command: unaligned, 16 bytes wide, over a page or a region's edge.
//!
//! KVM cuts an access at page boundaries and into at most 8 bytes; such a fragment goes to a
//! region only as a whole, and in naturally aligned pieces when its length is no power of two.

use anyhow::{Context as _, Result};
use ioregion_wire::frame::Command;
use ioregion_wire::uapi::KvmIoregion;
use rawguest::{ram, Asm, Machine, Mem, Reg, Vcpu, Width};

use crate::channel::{self, DeviceEnd, Transport};
use crate::check::check_eq;
use crate::guest::{
    expect_halt, mmio_read, mmio_write, read_command, read_once, write_command, write_once,
};
use crate::region::{mmio, set, MMIO};
use crate::stage::{play_to_the_end, Signals, SIGNALS};
use crate::suite::{tests, Context};

tests!(
    "split",
    Ioregion,
    [
        unaligned_within_a_page,
        partly_outside_is_a_plain_exit,
        odd_fragments_go_in_aligned_pieces,
        read_modify_write_is_two_commands,
        string_move_is_a_command_for_each_element,
        memory_hides_a_region,
        sixteen_bytes_are_two_commands,
        sixteen_bytes_over_a_page,
    ]
);

pub(super) const VALUE: u64 = 0x8877_6655_4433_2211;
pub(super) const PAGE: u64 = 0x1000;

/// The byte that the device holds at each offset of a region whose user_data is `user_data`.
pub(super) fn byte_at(user_data: u64, offset: u64) -> u8 {
    (user_data as u8).wrapping_add(offset as u8).wrapping_mul(7)
}

/// What the device answers to a read.
pub(super) fn memory(command: &Command) -> Result<u64> {
    let byte = |n| u64::from(byte_at(command.user_data, command.offset + n)) << (8 * n);
    Ok((0..command.width.bytes() as u64).map(byte).sum())
}

fn width(bytes: u64) -> Result<Width> {
    Width::from_bytes(bytes as usize).with_context(|| format!("a piece of {bytes} bytes"))
}

/// The naturally aligned pieces of `len` bytes at `start`: the contract, spelled out.
fn pieces(start: u64, len: u64) -> Vec<(u64, u64)> {
    if matches!(len, 1 | 2 | 4 | 8) {
        return vec![(start, len)];
    }
    let (mut at, end) = (start, start + len);
    let mut pieces = Vec::new();
    while at < end {
        let fits = |size: &u64| at % size == 0 && at + size <= end;
        let size = [4, 2].into_iter().find(fits).unwrap_or(1);
        pieces.push((at, size));
        at += size;
    }
    pieces
}

pub(super) fn reads_of(user_data: u64, start: u64, len: u64) -> Result<Vec<Command>> {
    pieces(start, len)
        .into_iter()
        .map(|(at, size)| {
            Ok(Command {
                user_data,
                ..read_command(width(size)?, at)
            })
        })
        .collect()
}

pub(super) fn writes_of(user_data: u64, start: u64, bytes: &[u8]) -> Result<Vec<Command>> {
    pieces(start, bytes.len() as u64)
        .into_iter()
        .map(|(at, size)| {
            let first = (at - start) as usize;
            let mut data = [0; 8];
            data[..size as usize].copy_from_slice(&bytes[first..first + size as usize]);
            let command = write_command(width(size)?, at, u64::from_le_bytes(data));
            Ok(Command {
                user_data,
                ..command
            })
        })
        .collect()
}

pub(super) fn region(
    address: u64,
    size: u64,
    user_data: u64,
    end: &channel::KvmEnd,
) -> KvmIoregion {
    KvmIoregion {
        user_data,
        ..mmio(address, size, end)
    }
}

fn one_region(program: &Asm, size: u64) -> Result<(Machine, Vcpu, DeviceEnd)> {
    let machine = Machine::new()?;
    let (end, device) = channel::open(Transport::Seqpacket)?;
    set(machine.fd(), &region(MMIO, size, 1, &end))?;
    let vcpu = machine.add_vcpu(program)?;
    Ok((machine, vcpu, device))
}

fn unaligned_within_a_page(_: &Context) -> Result<()> {
    for (access, offset) in [
        (Width::Word, 1),
        (Width::Long, 1),
        (Width::Long, 3),
        (Width::Quad, 5),
    ] {
        let program = read_once(access, MMIO + offset);
        let (_machine, mut vcpu, mut device) = one_region(&program, PAGE)?;
        let log = play_to_the_end(&mut vcpu, &mut device, Signals::None, memory)?;
        let command = Command {
            user_data: 1,
            ..read_command(access, offset)
        };
        check_eq!(log, [command], "commands of {access:?} at {offset}");
        check_eq!(
            vcpu.reg(Reg::Ax)?,
            memory(&command)?,
            "value of {access:?} at {offset}"
        );
    }
    Ok(())
}

fn partly_outside_is_a_plain_exit(_: &Context) -> Result<()> {
    for (access, address) in [
        (Width::Word, MMIO + 0x7f),
        (Width::Long, MMIO + 0x7d),
        (Width::Quad, MMIO + 0x79),
        (Width::Quad, MMIO + 0x7f),
        (Width::Long, MMIO + 0x3d),
        (Width::Quad, MMIO + 0x3f),
    ] {
        let machine = Machine::new()?;
        let (end, device) = channel::open(Transport::Seqpacket)?;
        set(machine.fd(), &region(MMIO + 0x40, 0x40, 1, &end))?;
        let mut vcpu = machine.add_vcpu(&read_once(access, address))?;
        check_eq!(
            vcpu.run()?,
            mmio_read(address, access.bytes()),
            "read over an edge"
        );
        vcpu.supply(&VALUE.to_le_bytes());
        expect_halt(&vcpu.run()?)?;
        let mut vcpu = machine.add_vcpu(&write_once(access, address, VALUE))?;
        let bytes = &VALUE.to_le_bytes()[..access.bytes()];
        check_eq!(
            vcpu.run()?,
            mmio_write(address, bytes),
            "write over an edge"
        );
        expect_halt(&vcpu.run()?)?;
        check_eq!(device.has_command()?, false, "the device got a command");
    }
    Ok(())
}

/// Every way in which 2, 4 and 8 bytes can lie over a page boundary of one region.
fn odd_fragments_go_in_aligned_pieces(_: &Context) -> Result<()> {
    for access in [Width::Word, Width::Long, Width::Quad] {
        let len = access.bytes() as u64;
        for before in 1..len {
            let (start, after) = (PAGE - before, len - before);
            let (_machine, mut vcpu, mut device) =
                one_region(&read_once(access, MMIO + start), 2 * PAGE)?;
            let log = play_to_the_end(&mut vcpu, &mut device, Signals::None, memory)?;
            let want = [reads_of(1, start, before)?, reads_of(1, PAGE, after)?].concat();
            check_eq!(log, want, "reads of {before}|{after} bytes");
            let bytes: Vec<_> = (0..len).map(|n| byte_at(1, start + n)).collect();
            let value = vcpu.reg(Reg::Ax)?.to_le_bytes();
            check_eq!(
                value[..len as usize],
                bytes[..],
                "value of {before}|{after} bytes"
            );

            let (_machine, mut vcpu, mut device) =
                one_region(&write_once(access, MMIO + start, VALUE), 2 * PAGE)?;
            let log = play_to_the_end(&mut vcpu, &mut device, Signals::None, memory)?;
            let bytes = &VALUE.to_le_bytes()[..len as usize];
            let (first, second) = bytes.split_at(before as usize);
            let want = [writes_of(1, start, first)?, writes_of(1, PAGE, second)?].concat();
            check_eq!(log, want, "writes of {before}|{after} bytes");
        }
    }
    Ok(())
}

fn read_modify_write_is_two_commands(_: &Context) -> Result<()> {
    let mut program = Asm::long();
    program.mov(Reg::Bx, MMIO + 8).mov(Reg::Ax, 5);
    program
        .add_to(Width::Long, Mem::At(Reg::Bx), Reg::Ax)
        .halt();
    let (_machine, mut vcpu, mut device) = one_region(&program, PAGE)?;
    let log = play_to_the_end(&mut vcpu, &mut device, Signals::EachCommand, |_| Ok(37))?;
    let commands = [
        read_command(Width::Long, 8),
        write_command(Width::Long, 8, 42),
    ];
    check_eq!(
        log,
        commands.map(|command| Command {
            user_data: 1,
            ..command
        }),
        "commands"
    );
    Ok(())
}

fn string_move_is_a_command_for_each_element(_: &Context) -> Result<()> {
    for (element, count) in [(Width::Byte, 5), (Width::Quad, 3)] {
        let mut program = Asm::long();
        program
            .mov(Reg::Si, MMIO + 8)
            .mov(Reg::Di, ram::DATA)
            .mov(Reg::Cx, count);
        program.rep_movs(element).halt();
        let (machine, mut vcpu, mut device) = one_region(&program, PAGE)?;
        let log = play_to_the_end(&mut vcpu, &mut device, Signals::EachCommand, memory)?;
        let len = element.bytes() as u64;
        let want: Vec<_> = (0..count)
            .map(|n| Command {
                user_data: 1,
                ..read_command(element, 8 + n * len)
            })
            .collect();
        check_eq!(log, want, "commands, {element:?}");
        let bytes: Vec<_> = (0..count * len).map(|n| byte_at(1, 8 + n)).collect();
        check_eq!(
            machine.ram().read(ram::DATA, bytes.len())?,
            bytes,
            "RAM, {element:?}"
        );
    }
    Ok(())
}

/// Where there is a memory slot, the guest finds memory.
fn memory_hides_a_region(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    let (end, device) = channel::open(Transport::Seqpacket)?;
    set(machine.fd(), &region(ram::DATA, PAGE, 1, &end))?;
    machine.ram().store(ram::DATA, 0x1234_5678u32)?;
    let mut vcpu = machine.add_vcpu(&read_once(Width::Long, ram::DATA))?;
    expect_halt(&vcpu.run()?)?;
    check_eq!(vcpu.reg(Reg::Ax)?, 0x1234_5678, "value");
    check_eq!(device.has_command()?, false, "the device got a command");
    Ok(())
}

/// Loads 16 bytes from `address` and stores them there again.
fn copy_sixteen(address: u64, aligned: bool) -> Asm {
    let mut program = Asm::long();
    program.mov(Reg::Bx, address);
    if aligned {
        program
            .load_sse_aligned(Mem::At(Reg::Bx))
            .store_sse_aligned(Mem::At(Reg::Bx));
    } else {
        program
            .load_sse(Mem::At(Reg::Bx))
            .store_sse(Mem::At(Reg::Bx));
    }
    program.halt();
    program
}

fn check_sixteen(start: u64, fragments: &[(u64, u64)], aligned: bool) -> Result<()> {
    for signals in SIGNALS {
        let (_machine, mut vcpu, mut device) =
            one_region(&copy_sixteen(MMIO + start, aligned), 2 * PAGE)?;
        let log = play_to_the_end(&mut vcpu, &mut device, signals, memory)?;
        let bytes: Vec<_> = (start..start + 16)
            .map(|offset| byte_at(1, offset))
            .collect();
        check_eq!(vcpu.xmm0()?[..], bytes[..], "xmm0, signals {signals:?}");
        let mut want = Vec::new();
        for &(at, len) in fragments {
            want.extend(reads_of(1, at, len)?);
        }
        for &(at, len) in fragments {
            let first = (at - start) as usize;
            want.extend(writes_of(1, at, &bytes[first..first + len as usize])?);
        }
        check_eq!(log, want, "commands, signals {signals:?}");
    }
    Ok(())
}

fn sixteen_bytes_are_two_commands(_: &Context) -> Result<()> {
    check_sixteen(0x20, &[(0x20, 8), (0x28, 8)], true)?;
    check_sixteen(0x21, &[(0x21, 8), (0x29, 8)], false)
}

fn sixteen_bytes_over_a_page(_: &Context) -> Result<()> {
    check_sixteen(PAGE - 8, &[(PAGE - 8, 8), (PAGE, 8)], false)?;
    check_sixteen(PAGE - 3, &[(PAGE - 3, 3), (PAGE, 8), (PAGE + 8, 5)], false)?;
    check_sixteen(
        PAGE - 13,
        &[(PAGE - 13, 8), (PAGE - 5, 5), (PAGE, 3)],
        false,
    )
}

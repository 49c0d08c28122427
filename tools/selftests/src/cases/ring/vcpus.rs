// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Several vCPUs on one ring, and accesses of several pieces.

use std::thread;

use anyhow::{Context as _, Result};
use ioregion_wire::frame::{Command, Operation};
use ioregion_wire::uapi::KvmIoregionChannel;
use libc::ENOSPC;
use rawguest::{Access, Machine, Reg, Vcpu, Width};

use super::{end, fixture, slots};
use crate::channel::open_ring;
use crate::check::check_eq;
use crate::expect::Expected;
use crate::guest::{
    counting_writes, expect_halt, posted_command, read_command, read_once, write_command,
    write_once,
};
use crate::region::{mmio, posted, set, MMIO};
use crate::ring::USUAL;
use crate::stage::{play_to_the_end, while_running, with_device, Signals};
use crate::suite::{tests, Context};

tests!(
    "ring_vcpus",
    Ioregion,
    [
        vcpu_without_a_line_is_enospc,
        answers_in_any_order,
        all_posted_writes_are_in_program_order,
        pieces_of_a_read_across_pages,
        pieces_of_a_write_across_pages,
    ]
);

const VALUE: u64 = 0x8877_6655_4433_2211;

fn vcpu_without_a_line_is_enospc(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    let one = KvmIoregionChannel { vcpus: 1, ..USUAL };
    let (kvm_end, mut device) = open_ring(machine.fd(), &one)?;
    let region = mmio(MMIO, 0x1000, &kvm_end);
    set(machine.fd(), &region)?;
    let program = read_once(Width::Long, MMIO + 8);
    let mut first = machine.add_vcpu(&program)?;
    let mut second = machine.add_vcpu(&program)?;
    Expected {
        access: Access::MmioRead {
            address: MMIO + 8,
            len: 4,
        },
        offset: 8,
        size: 4,
        data: 0,
        done: 0,
        error: ENOSPC,
        sent: false,
    }
    .check(&region, &second.run()?)?;
    second.supply(&5u32.to_le_bytes());
    expect_halt(&second.run()?)?;
    check_eq!(second.reg(Reg::Ax)?, 5, "value that the VMM supplied");
    let (exit, ()) = while_running(&mut first, |_| {
        check_eq!(device.next()?, Some(read_command(Width::Long, 8)), "access");
        device.reply(6)
    })?;
    expect_halt(&exit)?;
    check_eq!(first.reg(Reg::Ax)?, 6, "value of the vCPU with a line");
    Ok(())
}

/// Each vCPU has a line of its own: unlike on a socket, the later access may be answered first.
fn answers_in_any_order(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    let (kvm_end, mut device) = open_ring(machine.fd(), &USUAL)?;
    set(machine.fd(), &mmio(MMIO, 0x1000, &kvm_end))?;
    let mut first = machine.add_vcpu(&read_once(Width::Long, MMIO))?;
    let mut second = machine.add_vcpu(&read_once(Width::Long, MMIO + 4))?;
    let (exit, exit_of_second) = while_running(&mut first, |first| {
        device.next()?;
        first.wait_until_asleep()?;
        let (exit, ()) = while_running(&mut second, |_| {
            device.next()?;
            device.complete(1, 1, 22)
        })?;
        first.expect_waiting()?;
        device.complete(0, 1, 11)?;
        Ok(exit)
    })?;
    expect_halt(&exit)?;
    expect_halt(&exit_of_second)?;
    let values = (first.reg(Reg::Ax)?, second.reg(Reg::Ax)?);
    check_eq!(values, (11, 22), "values");
    Ok(())
}

/// In a ring so small that both wait for room again and again.
fn all_posted_writes_are_in_program_order(_: &Context) -> Result<()> {
    const COUNT: u32 = 1_000;
    let machine = Machine::new()?;
    let (kvm_end, device) = open_ring(machine.fd(), &slots(8))?;
    set(machine.fd(), &posted(mmio(MMIO, 0x1000, &kvm_end)))?;
    let mut vcpus: Vec<Vcpu> = (0..2)
        .map(|n| machine.add_vcpu(&counting_writes(Width::Long, MMIO + 8 * n, COUNT)))
        .collect::<Result<_, _>>()?;
    let ((), log) = with_device(
        &mut end(device),
        |_| Ok(0),
        || {
            thread::scope(|scope| {
                let threads: Vec<_> = vcpus
                    .iter_mut()
                    .map(|vcpu| scope.spawn(|| vcpu.run()))
                    .collect();
                threads.into_iter().try_for_each(|thread| {
                    let exit = thread.join();
                    expect_halt(&exit.map_err(|_| anyhow::anyhow!("a vCPU panicked"))??)
                })
            })
        },
    )?;
    for offset in [0, 8] {
        let of_one: Vec<_> = log.iter().filter(|c| c.offset == offset).copied().collect();
        let write = |value: u32| posted_command(Width::Long, offset, value.into());
        let want: Vec<_> = (1..=COUNT).map(write).collect();
        check_eq!(of_one, want, "writes to {offset:#x}");
    }
    Ok(())
}

/// 1 byte on the first page; on the second 7 as 4, 2 and 1.
const PIECES: [(Width, u64, u32); 4] = [
    (Width::Byte, 0xfff, 0),
    (Width::Long, 0x1000, 8),
    (Width::Word, 0x1004, 40),
    (Width::Byte, 0x1006, 56),
];

fn pieces(program: &rawguest::Asm, signals: Signals) -> Result<(Vcpu, Vec<Command>)> {
    let test = fixture(&USUAL, program, |end| mmio(MMIO, 0x2000, end))?;
    let mut vcpu = test.vcpu;
    let answer = |command: &Command| {
        let piece = PIECES.iter().find(|piece| piece.1 == command.offset);
        let (_, _, shift) = piece.context("an access elsewhere")?;
        Ok(match command.operation {
            Operation::Read => VALUE >> shift,
            Operation::Write(_) => 0,
        })
    };
    let log = play_to_the_end(&mut vcpu, &mut end(test.device), signals, answer)?;
    Ok((vcpu, log))
}

fn pieces_of_a_read_across_pages(_: &Context) -> Result<()> {
    for signals in crate::stage::SIGNALS {
        let (vcpu, log) = pieces(&read_once(Width::Quad, MMIO + 0xfff), signals)?;
        let want = PIECES.map(|(width, offset, _)| read_command(width, offset));
        check_eq!(log, want, "accesses, {signals:?}");
        check_eq!(vcpu.reg(Reg::Ax)?, VALUE, "value, {signals:?}");
    }
    Ok(())
}

fn pieces_of_a_write_across_pages(_: &Context) -> Result<()> {
    for signals in crate::stage::SIGNALS {
        let (_, log) = pieces(&write_once(Width::Quad, MMIO + 0xfff, VALUE), signals)?;
        let want =
            PIECES.map(|(width, offset, shift)| write_command(width, offset, VALUE >> shift));
        check_eq!(log, want, "accesses, {signals:?}");
    }
    Ok(())
}

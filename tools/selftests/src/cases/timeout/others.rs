// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Who is not concerned by a time-out: other vCPUs, and other regions.

use std::time::Instant;

use anyhow::{bail, Context as _, Result};
use ioregion_wire::uapi::KvmIoregionChannel;
use rawguest::{Asm, Machine, Mem, Reg, Width};

use super::room::no_room;
use super::{expect_given_up, given_up_read, limited, reader, OFFSET, TIMEOUT};
use crate::channel::{self, DeviceEnd, KvmEnd, Transport, FILES, TRANSPORTS};
use crate::check::check_eq;
use crate::guest::{counting_writes, expect_halt, posted_command, sum_of_reads};
use crate::region::{mmio, posted, set, MMIO};
use crate::ring::USUAL;
use crate::stage::while_running;
use crate::suite::{tests, Context};

tests!(
    "timeout_others",
    Ioregion,
    [
        without_one_a_vcpu_waits,
        other_vcpu_on_the_channel_goes_on,
        each_region_has_its_own,
        other_waiter_for_room_in_a_ring_goes_on,
        other_waiter_for_room_in_a_file_goes_on,
    ]
);

/// At a region without a time-out, while another vCPU's device is given up again and again.
fn without_one_a_vcpu_waits(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let mut test = reader(transport, 5)?;
        let (end, mut slow) = channel::open_on(test.machine.fd(), transport)?;
        set(test.machine.fd(), &mmio(MMIO + 0x1000, 0x1000, &end))?;
        let mut patient = test
            .machine
            .add_vcpu(&sum_of_reads(Width::Long, MMIO + 0x1000, 1))?;
        let (exit, ()) = while_running(&mut patient, |running| {
            slow.command()?;
            for _ in 0..5 {
                expect_given_up(&mut test.vcpu, &test.region, &given_up_read())?;
                running.expect_waiting()?;
            }
            slow.reply(0x600d)
        })?;
        expect_halt(&exit)?;
        check_eq!(patient.reg(Reg::Si)?, 0x600d, "value, {transport:?}");
    }
    Ok(())
}

/// Answers to one vCPU are in time while another one's never come.
fn other_vcpu_on_the_channel_goes_on(_: &Context) -> Result<()> {
    const COUNT: u32 = 50;
    let mut test = reader(Transport::Ring, 1)?;
    let DeviceEnd::Ring(mut device) = test.device else {
        bail!("not a ring");
    };
    let mut served = test
        .machine
        .add_vcpu(&sum_of_reads(Width::Long, MMIO, COUNT))?;
    let (exit, exit_of_served) = while_running(&mut test.vcpu, |hung| {
        device.next()?;
        hung.wait_until_asleep()?;
        let (exit, ()) = while_running(&mut served, |_| {
            for request in 1..=COUNT {
                device.next()?;
                device.complete(1, request.into(), 3)?;
            }
            Ok(())
        })?;
        Ok(exit)
    })?;
    expect_halt(&exit_of_served)?;
    check_eq!(served.reg(Reg::Si)?, u64::from(3 * COUNT), "sum");
    given_up_read().check(&test.region, &exit)
}

/// Two regions of one channel.
fn each_region_has_its_own(_: &Context) -> Result<()> {
    let mut program = Asm::long();
    program
        .mov(Reg::Bx, MMIO + OFFSET)
        .load(Width::Long, Reg::Ax, Mem::At(Reg::Bx))
        .mov(Reg::Bx, MMIO + 0x1000)
        .load(Width::Long, Reg::Si, Mem::At(Reg::Bx))
        .halt();
    for transport in TRANSPORTS {
        let machine = Machine::new()?;
        let (end, mut device) = channel::open_on(machine.fd(), transport)?;
        let region = limited(mmio(MMIO, 0x1000, &end), TIMEOUT);
        set(machine.fd(), &region)?;
        set(machine.fd(), &mmio(MMIO + 0x1000, 0x1000, &end))?;
        let mut vcpu = machine.add_vcpu(&program)?;
        expect_given_up(&mut vcpu, &region, &given_up_read())?;
        let (exit, ()) = while_running(&mut vcpu, |running| {
            device.command()?;
            device.command()?;
            let start = Instant::now();
            while start.elapsed() < 3 * TIMEOUT {
                running.wait_until_asleep()?;
                running.expect_waiting()?;
            }
            device.reply(0xdead)?;
            device.reply(0x600d)
        })?;
        expect_halt(&exit)?;
        check_eq!(vcpu.reg(Reg::Si)?, 0x600d, "value, {transport:?}");
    }
    Ok(())
}

/// A vCPU that gives up three writes, one after the other, at a region whose channel is full, and
/// one that waits for room at a region of the same channel without a time-out: it gets room when
/// there is some.
fn other_waiter_for_room_goes_on(
    machine: &Machine,
    end: &KvmEnd,
    make_room: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let region = limited(posted(mmio(MMIO, 0x1000, end)), TIMEOUT);
    set(machine.fd(), &region)?;
    set(machine.fd(), &posted(mmio(MMIO + 0x1000, 0x1000, end)))?;
    let mut hasty = machine.add_vcpu(&counting_writes(Width::Long, MMIO, 3))?;
    let mut patient = machine.add_vcpu(&counting_writes(Width::Long, MMIO + 0x1000, 1))?;
    let (exit, ()) = while_running(&mut patient, |running| {
        running.wait_until_asleep()?;
        for value in 1..=3 {
            expect_given_up(&mut hasty, &region, &no_room(value, 0))?;
        }
        running.wait_until_asleep()?;
        running.expect_waiting()?;
        make_room()
    })?;
    expect_halt(&exit)?;
    expect_halt(&hasty.run()?)
}

fn other_waiter_for_room_in_a_ring_goes_on(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    let one = KvmIoregionChannel { slots: 1, ..USUAL };
    let (end, mut device) = channel::open_ring(machine.fd(), &one)?;
    let filler = posted(mmio(MMIO + 0x2000, 0x1000, &end));
    set(machine.fd(), &filler)?;
    let mut first = machine.add_vcpu(&counting_writes(Width::Long, MMIO + 0x2000, 1))?;
    expect_halt(&first.run()?)?;
    other_waiter_for_room_goes_on(&machine, &end, || {
        device.take()?.context("the first write is missing")?;
        device.make_room()
    })?;
    let access = device.take()?.context("the last write is missing")?;
    check_eq!(access.vcpu, 2, "vCPU whose write there was room for");
    check_eq!(device.take()?, None, "what follows it");
    Ok(())
}

fn other_waiter_for_room_in_a_file_goes_on(_: &Context) -> Result<()> {
    for transport in FILES {
        let machine = Machine::new()?;
        let (end, mut device) = channel::open(transport)?;
        let junk = channel::fill(&end)?;
        other_waiter_for_room_goes_on(&machine, &end, || {
            (0..junk).try_for_each(|_| device.frame().map(drop))
        })
        .with_context(|| format!("{transport:?}"))?;
        let want = posted_command(Width::Long, 0, 1);
        check_eq!(device.command()?, want, "write there was room for");
        check_eq!(device.has_command()?, false, "a command");
    }
    Ok(())
}

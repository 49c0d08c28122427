// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Who is not concerned by a time-out: other vCPUs, and other regions.

use std::time::Instant;

use anyhow::{bail, Result};
use rawguest::{Asm, Machine, Mem, Reg, Width};

use super::{expect_given_up, given_up_read, limited, reader, OFFSET, TIMEOUT};
use crate::channel::{self, DeviceEnd, Transport, TRANSPORTS};
use crate::check::check_eq;
use crate::guest::{expect_halt, sum_of_reads};
use crate::region::{mmio, set, MMIO};
use crate::stage::while_running;
use crate::suite::{tests, Context};

tests!(
    "timeout_others",
    Ioregion,
    [
        without_one_a_vcpu_waits,
        other_vcpu_on_the_channel_goes_on,
        each_region_has_its_own,
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

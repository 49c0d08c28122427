// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A ring without room: the vCPU waits, and no access is lost or sent twice.

use anyhow::{Context as _, Result};
use libc::{ECANCELED, EPIPE};
use rawguest::{Access, Exit, Width};

use super::{fixture, slots, Fixture};
use crate::check::check_eq;
use crate::expect::Expected;
use crate::guest::{counting_writes, expect_halt, posted_command};
use crate::region::{deassign, mmio, posted, MMIO};
use crate::ring::RingDevice;
use crate::stage::{while_running, Running};
use crate::suite::{tests, Context};

tests!(
    "ring_room",
    Ioregion,
    [
        vcpu_waits_and_nothing_is_lost,
        ring_of_one_slot,
        signal_while_waiting,
        immediate_exit_sends_nothing,
        removed_while_waiting,
        device_gone_while_waiting,
    ]
);

const SLOTS: u32 = 4;
const WRITES: u32 = 4 * SLOTS + 2;

fn writer(ring: u32) -> Result<Fixture> {
    let program = counting_writes(Width::Long, MMIO, WRITES);
    fixture(&slots(ring), &program, |end| {
        posted(mmio(MMIO, 0x1000, end))
    })
}

/// Takes these writes, and no other is there.
fn expect_writes(device: &mut RingDevice, values: impl IntoIterator<Item = u32>) -> Result<()> {
    for value in values {
        let access = device.take()?.with_context(|| format!("write {value}"))?;
        let want = posted_command(Width::Long, 0, value.into());
        check_eq!(access.command, want, "access");
    }
    Ok(())
}

/// The writes from `first` on, one by one, to the end.
fn serve_rest(device: &mut RingDevice, first: u32) -> Result<()> {
    for value in first..=WRITES {
        let want = Some(posted_command(Width::Long, 0, value.into()));
        check_eq!(device.next()?, want, "access");
    }
    check_eq!(device.take()?, None, "what follows the last write");
    Ok(())
}

fn vcpu_waits_and_nothing_is_lost(_: &Context) -> Result<()> {
    let mut test = writer(SLOTS)?;
    let device = &mut test.device;
    let (exit, ()) = while_running(&mut test.vcpu, |running| {
        running.wait_until_asleep()?;
        expect_writes(device, 1..=SLOTS)?;
        check_eq!(device.take()?, None, "the write without room");
        running.expect_waiting()?;
        device.make_room()?;
        // It is as full again, and the same once more.
        serve_rest(device, SLOTS + 1)
    })?;
    expect_halt(&exit)
}

fn ring_of_one_slot(_: &Context) -> Result<()> {
    let mut test = writer(1)?;
    let (exit, ()) = while_running(&mut test.vcpu, |_| serve_rest(&mut test.device, 1))?;
    expect_halt(&exit)
}

/// Brings a vCPU that waits for room back to userspace.
fn interrupt(test: &mut Fixture) -> Result<()> {
    let (exit, ()) = while_running(&mut test.vcpu, |running| {
        running.wait_until_asleep()?;
        running.kick();
        Ok(())
    })?;
    check_eq!(exit, Exit::Interrupted, "exit");
    Ok(())
}

fn signal_while_waiting(_: &Context) -> Result<()> {
    let mut test = writer(SLOTS)?;
    for _ in 0..3 {
        interrupt(&mut test)?;
    }
    let (exit, ()) = while_running(&mut test.vcpu, |_| serve_rest(&mut test.device, 1))?;
    expect_halt(&exit)
}

fn immediate_exit_sends_nothing(_: &Context) -> Result<()> {
    let mut test = writer(SLOTS)?;
    interrupt(&mut test)?;
    test.vcpu.set_immediate_exit(true);
    for _ in 0..10 {
        check_eq!(test.vcpu.run()?, Exit::Interrupted, "KVM_RUN without room");
    }
    expect_writes(&mut test.device, 1..=SLOTS)?;
    check_eq!(test.device.take()?, None, "the write without room");
    check_eq!(test.vcpu.run()?, Exit::Interrupted, "KVM_RUN with room");
    expect_writes(&mut test.device, [SLOTS + 1])?;
    test.vcpu.set_immediate_exit(false);
    let rest = |_: &Running| serve_rest(&mut test.device, SLOTS + 2);
    let (exit, ()) = while_running(&mut test.vcpu, rest)?;
    expect_halt(&exit)
}

/// The failure of the write that found no room.
fn without_room(error: i32) -> Expected {
    let data = (SLOTS + 1).to_le_bytes().to_vec();
    Expected {
        access: Access::MmioWrite {
            address: MMIO,
            data,
        },
        offset: 0,
        size: 4,
        data: u64::from(SLOTS + 1),
        done: 0,
        error,
        sent: false,
    }
}

fn removed_while_waiting(_: &Context) -> Result<()> {
    let Fixture {
        machine,
        mut vcpu,
        mut device,
        region,
    } = writer(SLOTS)?;
    let (exit, ()) = while_running(&mut vcpu, |running| {
        running.wait_until_asleep()?;
        deassign(machine.fd(), &region).context("deassign with a waiter")
    })?;
    without_room(ECANCELED).check(&region, &exit)?;
    expect_writes(&mut device, 1..=SLOTS)?;
    check_eq!(device.take()?, None, "what follows the last write");
    Ok(())
}

fn device_gone_while_waiting(_: &Context) -> Result<()> {
    let Fixture {
        machine: _machine,
        mut vcpu,
        device,
        region,
    } = writer(SLOTS)?;
    let (exit, ()) = while_running(&mut vcpu, |running| {
        running.wait_until_asleep()?;
        drop(device);
        Ok(())
    })?;
    without_room(EPIPE).check(&region, &exit)
}

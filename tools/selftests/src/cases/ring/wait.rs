// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `IOREGION_CHANNEL_WAIT`, `IOREGION_CHANNEL_WAKE` and poll.

use std::os::fd::AsRawFd;
use std::sync::mpsc;
use std::thread;

use anyhow::{ensure, Result};
use ioregion_wire::uapi::{IOREGION_CHANNEL_NO_VCPU, IOREGION_CHANNEL_WAIT, IOREGION_CHANNEL_WAKE};
use libc::{EBADF, EINTR, EINVAL, EPIPE};
use rawguest::{Machine, Reg, Width};

use super::{fixture, Fixture};
use crate::channel::open_ring;
use crate::check::{check_eq, expect_errno};
use crate::guest::{expect_halt, read_once, sum_of_reads, write_once};
use crate::region::{deassign, mmio, posted, set, MMIO};
use crate::ring::{RingDevice, USUAL};
use crate::stage::while_running;
use crate::suite::{tests, Context};
use crate::tasks;

tests!(
    "ring_wait",
    Ioregion,
    [
        vcpu_that_cannot_be_is_einval,
        returns_for_an_access_that_is_there,
        wakes_and_waits_in_one_call,
        wake_without_answer_is_harmless,
        signal_is_eintr,
        last_region_is_epipe,
        closed_vm_is_epipe,
        last_accesses_are_served_before_epipe,
        poll_tells_of_accesses_and_the_end,
    ]
);

const NO_VCPU: u64 = IOREGION_CHANNEL_NO_VCPU as u64;
const VALUE: u64 = 0x1234_5678;

fn reader(count: u32) -> Result<Fixture> {
    let program = sum_of_reads(Width::Long, MMIO, count);
    fixture(&USUAL, &program, |end| mmio(MMIO, 0x1000, end))
}

fn vcpu_that_cannot_be_is_einval(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    let (_end, device) = open_ring(machine.fd(), &USUAL)?;
    let past = u64::from(USUAL.vcpus);
    for vcpu in [past, NO_VCPU - 1, NO_VCPU + 1, u64::MAX] {
        for number in [IOREGION_CHANNEL_WAIT, IOREGION_CHANNEL_WAKE] {
            let what = format!("ioctl {number:#x} for vCPU {vcpu:#x}");
            expect_errno(device.ioctl(number, vcpu), EINVAL, &what)?;
        }
    }
    for vcpu in [0, past - 1, NO_VCPU] {
        device.ioctl(IOREGION_CHANNEL_WAKE, vcpu)?;
    }
    Ok(())
}

fn returns_for_an_access_that_is_there(_: &Context) -> Result<()> {
    let program = write_once(Width::Long, MMIO, VALUE);
    let mut test = fixture(&USUAL, &program, |end| posted(mmio(MMIO, 0x1000, end)))?;
    expect_halt(&test.vcpu.run()?)?;
    for _ in 0..3 {
        test.device.ioctl(IOREGION_CHANNEL_WAIT, NO_VCPU)?;
    }
    ensure!(test.device.take()?.is_some(), "WAIT without an access");
    Ok(())
}

/// The device answers in memory only, and its next WAIT wakes the vCPU.
fn wakes_and_waits_in_one_call(_: &Context) -> Result<()> {
    let mut test = reader(2)?;
    let device = &mut test.device;
    let (exit, ()) = while_running(&mut test.vcpu, |running| {
        device.next()?;
        running.wait_until_asleep()?;
        device.answer_silently(VALUE)?;
        running.expect_waiting()?;
        device.ioctl(IOREGION_CHANNEL_WAIT, 0)?;
        ensure!(device.take()?.is_some(), "WAIT without the second access");
        device.reply(1)
    })?;
    expect_halt(&exit)?;
    check_eq!(test.vcpu.reg(Reg::Si)?, VALUE + 1, "sum");
    Ok(())
}

fn wake_without_answer_is_harmless(_: &Context) -> Result<()> {
    let mut test = reader(1)?;
    let device = &mut test.device;
    let (exit, ()) = while_running(&mut test.vcpu, |running| {
        device.next()?;
        for vcpu in [0, 1, NO_VCPU, 0] {
            running.wait_until_asleep()?;
            device.ioctl(IOREGION_CHANNEL_WAKE, vcpu)?;
            running.expect_waiting()?;
        }
        device.reply(VALUE)
    })?;
    expect_halt(&exit)?;
    check_eq!(test.vcpu.reg(Reg::Si)?, VALUE, "value");
    Ok(())
}

/// A handler with `SA_RESTART` must not restart the call by itself.
fn signal_is_eintr(_: &Context) -> Result<()> {
    tasks::handle_sigusr2()?;
    let machine = Machine::new()?;
    let (end, device) = open_ring(machine.fd(), &USUAL)?;
    set(machine.fd(), &mmio(MMIO, 0x1000, &end))?;
    let waiter = tasks::this_thread();
    thread::scope(|scope| {
        scope.spawn(move || {
            crate::stage::or_die((|| {
                tasks::wait_until_asleep(waiter)?;
                tasks::send_sigusr2(waiter);
                Ok(())
            })())
        });
        let result = device.ioctl(IOREGION_CHANNEL_WAIT, NO_VCPU);
        expect_errno(result, EINTR, "WAIT with a signal")
    })
}

/// Runs `end_it` while the device waits, which must return EPIPE.
fn waits_until(device: &RingDevice, end_it: impl FnOnce() -> Result<()>) -> Result<()> {
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        let waiter = scope.spawn(move || {
            let told = sender.send(tasks::this_thread());
            told.map(|()| device.ioctl(IOREGION_CHANNEL_WAIT, NO_VCPU))
        });
        tasks::wait_until_asleep(receiver.recv()?)?;
        end_it()?;
        let result = waiter.join();
        let result = result.map_err(|_| anyhow::anyhow!("the device panicked"))??;
        expect_errno(result, EPIPE, "WAIT")
    })
}

fn last_region_is_epipe(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    let (end, device) = open_ring(machine.fd(), &USUAL)?;
    let regions = [mmio(MMIO, 0x1000, &end), mmio(MMIO + 0x1000, 0x1000, &end)];
    for region in &regions {
        set(machine.fd(), region)?;
    }
    deassign(machine.fd(), &regions[0])?;
    waits_until(&device, || Ok(deassign(machine.fd(), &regions[1])?))?;
    let again = device.ioctl(IOREGION_CHANNEL_WAIT, NO_VCPU);
    expect_errno(again, EPIPE, "WAIT once more")?;
    // It cannot have regions again: the device may be on its way out.
    expect_errno(
        set(machine.fd(), &regions[0]),
        EBADF,
        "a region after the end",
    )
}

fn closed_vm_is_epipe(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    let (end, device) = open_ring(machine.fd(), &USUAL)?;
    set(machine.fd(), &mmio(MMIO, 0x1000, &end))?;
    waits_until(&device, || {
        drop(machine);
        Ok(())
    })
}

fn last_accesses_are_served_before_epipe(_: &Context) -> Result<()> {
    let program = write_once(Width::Long, MMIO, VALUE);
    let Fixture {
        machine,
        mut vcpu,
        mut device,
        ..
    } = fixture(&USUAL, &program, |end| posted(mmio(MMIO, 0x1000, end)))?;
    expect_halt(&vcpu.run()?)?;
    drop((vcpu, machine));
    device.ioctl(IOREGION_CHANNEL_WAIT, NO_VCPU)?;
    ensure!(device.next()?.is_some(), "the posted write is lost");
    ensure!(device.next()?.is_none(), "an access from nowhere");
    Ok(())
}

fn poll_tells_of_accesses_and_the_end(_: &Context) -> Result<()> {
    let Fixture {
        machine,
        mut vcpu,
        mut device,
        ..
    } = fixture(&USUAL, &read_once(Width::Long, MMIO), |end| {
        mmio(MMIO, 0x1000, end)
    })?;
    check_eq!(poll(&device)?, 0, "events of an empty ring");
    let (exit, ()) = while_running(&mut vcpu, |running| {
        running.wait_until_asleep()?;
        check_eq!(poll(&device)?, libc::POLLIN, "events with an access");
        device.next()?;
        check_eq!(poll(&device)?, 0, "events with the access taken");
        device.reply(VALUE)
    })?;
    expect_halt(&exit)?;
    drop((vcpu, machine));
    check_eq!(poll(&device)?, libc::POLLHUP, "events without the VM");
    Ok(())
}

fn poll(device: &RingDevice) -> Result<i16> {
    let mut poll = libc::pollfd {
        fd: device.fd().as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one live pollfd.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
    ensure!(ready >= 0, "poll: {}", std::io::Error::last_os_error());
    Ok(poll.revents)
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the VMM does to the VM while a device takes its time: nothing waits for the device.
//!
//! Each test finishes its changes before the device lets go; a KVM that makes them wait hangs.

use anyhow::{Context as _, Result};
use kvm_ioctls::{IoEventAddress, NoDatamatch};
use rawguest::{Asm, Exit, Machine, Reg, Vcpu, Width};
use vmm_sys_util::eventfd::EventFd;

use crate::channel::{self, DeviceEnd, KvmEnd, Transport};
use crate::check::check_eq;
use crate::guest::{expect_halt, read_command, sum_of_reads, write_once};
use crate::region::{deassign, mmio, pio, posted, set, MMIO, PORT};
use crate::stage::while_running;
use crate::suite::{tests, Context};

tests!(
    "slots",
    Ioregion,
    [
        memory_slots_while_a_read_waits,
        memory_slots_while_a_port_read_waits,
        memory_slots_while_a_write_waits_for_room,
        memory_over_the_region_while_a_read_waits,
        ioeventfds_while_a_read_waits,
        regions_while_a_read_waits,
    ]
);

const SLOT: u32 = 1;
const ELSEWHERE: u64 = 0x1000_0000;
const VALUE: u64 = 0x600d_da7a;

/// A guest that reads the region twice and adds up.
fn fixture() -> Result<(Machine, Vcpu, KvmEnd, DeviceEnd)> {
    let machine = Machine::new()?;
    let (end, device) = channel::open(Transport::Seqpacket)?;
    set(machine.fd(), &mmio(MMIO, 0x1000, &end))?;
    let vcpu = machine.add_vcpu(&sum_of_reads(Width::Long, MMIO, 2))?;
    Ok((machine, vcpu, end, device))
}

/// Makes `change` while the device holds the first reply; both reads must then succeed.
fn check(change: impl FnOnce(&Machine, &KvmEnd) -> Result<()>) -> Result<()> {
    let (machine, mut vcpu, end, mut device) = fixture()?;
    let (exit, ()) = while_running(&mut vcpu, |running| {
        check_eq!(
            device.command()?,
            read_command(Width::Long, 0),
            "first command"
        );
        running.wait_until_asleep()?;
        change(&machine, &end)?;
        running.expect_waiting()?;
        device.reply(VALUE)?;
        check_eq!(
            device.command()?,
            read_command(Width::Long, 0),
            "second command"
        );
        device.reply(1)
    })?;
    expect_halt(&exit)?;
    check_eq!(vcpu.reg(Reg::Si)?, VALUE + 1, "sum");
    Ok(())
}

fn memory_slots_while_a_read_waits(_: &Context) -> Result<()> {
    check(|machine, _| {
        for _ in 0..5 {
            machine.show_ram(SLOT, ELSEWHERE)?;
            machine.remove_slot(SLOT)?;
        }
        Ok(())
    })
}

fn memory_slots_while_a_port_read_waits(_: &Context) -> Result<()> {
    let mut program = Asm::long();
    program
        .mov(Reg::Dx, PORT.into())
        .port_in(Width::Long)
        .halt();
    let machine = Machine::new()?;
    let (end, mut device) = channel::open(Transport::Seqpacket)?;
    set(machine.fd(), &pio(PORT, 4, &end))?;
    let mut vcpu = machine.add_vcpu(&program)?;
    let (exit, ()) = while_running(&mut vcpu, |running| {
        device.command()?;
        running.wait_until_asleep()?;
        machine.show_ram(SLOT, ELSEWHERE)?;
        machine.remove_slot(SLOT)?;
        running.expect_waiting()?;
        device.reply(VALUE)
    })?;
    expect_halt(&exit)?;
    check_eq!(vcpu.reg(Reg::Ax)?, VALUE, "value");
    Ok(())
}

fn ioeventfds_while_a_read_waits(_: &Context) -> Result<()> {
    check(|machine, _| {
        let event = EventFd::new(0)?;
        for address in [MMIO, MMIO + 0x50, ELSEWHERE] {
            let address = IoEventAddress::Mmio(address);
            machine
                .fd()
                .register_ioevent(&event, &address, NoDatamatch)
                .context("assign")?;
            machine
                .fd()
                .unregister_ioevent(&event, &address, NoDatamatch)
                .context("deassign")?;
        }
        Ok(())
    })
}

fn regions_while_a_read_waits(_: &Context) -> Result<()> {
    check(|machine, end| {
        let (other_end, _other_device) = channel::open(Transport::Stream)?;
        for region in [
            mmio(MMIO + 0x1000, 0x1000, end),
            mmio(ELSEWHERE, 0x10, &other_end),
        ] {
            set(machine.fd(), &region).context("set")?;
            deassign(machine.fd(), &region).context("deassign")?;
        }
        Ok(())
    })
}

fn memory_slots_while_a_write_waits_for_room(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    let (end, mut device) = channel::open(Transport::Seqpacket)?;
    set(machine.fd(), &posted(mmio(MMIO, 0x1000, &end)))?;
    let junk = channel::fill(&end)?;
    let mut vcpu = machine.add_vcpu(&write_once(Width::Long, MMIO, VALUE))?;
    let (exit, ()) = while_running(&mut vcpu, |running| {
        running.wait_until_asleep()?;
        machine.show_ram(SLOT, ELSEWHERE)?;
        machine.remove_slot(SLOT)?;
        running.expect_waiting()?;
        for _ in 0..junk {
            device.frame()?;
        }
        Ok(())
    })?;
    expect_halt(&exit)?;
    check_eq!(
        device.command()?,
        crate::guest::posted_command(Width::Long, 0, VALUE),
        "command behind the junk"
    );
    Ok(())
}

/// The access that waits completes with the device's reply; the next one finds memory.
fn memory_over_the_region_while_a_read_waits(_: &Context) -> Result<()> {
    let (machine, mut vcpu, _end, mut device) = fixture()?;
    machine.ram().write(0, &1u32.to_le_bytes())?;
    let (exit, ()) = while_running(&mut vcpu, |running| {
        device.command()?;
        running.wait_until_asleep()?;
        machine.show_ram(SLOT, MMIO)?;
        running.expect_waiting()?;
        device.reply(VALUE)
    })?;
    check_eq!(exit, Exit::Halt, "exit");
    check_eq!(vcpu.reg(Reg::Si)?, VALUE + 1, "sum");
    check_eq!(
        device.has_command()?,
        false,
        "the device got a second command"
    );
    Ok(())
}

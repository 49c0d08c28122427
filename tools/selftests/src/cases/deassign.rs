// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Regions that go away, with and without somebody waiting.

use anyhow::{Context as _, Result};
use ioregion_wire::frame::Command;
use ioregion_wire::uapi::KvmIoregion;
use libc::ECANCELED;
use rawguest::{Access, Asm, Exit, Machine, Mem, Reg, Vcpu, Width};

use crate::channel::{self, Transport, FILES, TRANSPORTS};
use crate::check::check_eq;
use crate::expect::Expected;
use crate::guest::{expect_halt, mmio_read, read_command, sum_of_reads, write_once};
use crate::region::{deassign, mmio, page, posted, set, MMIO};
use crate::scene::{scene, scene_with_end, Scene};
use crate::stage::while_running;
use crate::suite::{tests, Context};

tests!(
    "deassign",
    Ioregion,
    [
        idle_region,
        reader_waiting_for_its_reply,
        two_readers_waiting,
        writer_waiting_for_its_reply,
        writer_waiting_for_room,
        reader_interrupted,
        region_of_another_channel_goes_on,
        shared_channel_goes_on,
        fresh_files,
        lets_go_of_the_files,
    ]
);

const VALUE: u64 = 0x0bad_cafe;

/// The cancelled read of 4 bytes at the region's start.
const CANCELED_READ: Expected = Expected {
    access: Access::MmioRead {
        address: MMIO,
        len: 4,
    },
    offset: 0,
    size: 4,
    data: 0,
    done: 0,
    error: ECANCELED,
    sent: true,
};

fn canceled_write(sent: bool) -> Expected {
    let data = (VALUE as u32).to_le_bytes().to_vec();
    let access = Access::MmioWrite {
        address: MMIO,
        data,
    };
    Expected {
        access,
        data: VALUE,
        sent,
        ..CANCELED_READ
    }
}

fn idle_region(_: &Context) -> Result<()> {
    let mut test = scene(
        Transport::Seqpacket,
        &sum_of_reads(Width::Long, MMIO, 2),
        page,
    )?;
    let (exit, _) = while_running(&mut test.vcpu, |_| {
        test.device.command()?;
        test.device.reply(VALUE)?;
        test.device.command()?;
        test.device.reply(1)
    })?;
    expect_halt(&exit)?;
    check_eq!(
        test.vcpu.reg(Reg::Si)?,
        VALUE + 1,
        "sum while the region is there"
    );
    deassign(test.machine.fd(), &test.region)?;
    test.vcpu = test.machine.add_vcpu(&sum_of_reads(Width::Long, MMIO, 1))?;
    check_eq!(
        test.vcpu.run()?,
        mmio_read(MMIO, 4),
        "read after the region is gone"
    );
    Ok(())
}

/// Removes the region when the vCPU waits for the reply to its command.
fn removed_while_waiting(test: &mut Scene) -> Result<Exit> {
    let (exit, ()) = while_running(&mut test.vcpu, |running| {
        test.device.command()?;
        running.wait_until_asleep()?;
        deassign(test.machine.fd(), &test.region).context("deassign with a waiter")
    })?;
    Ok(exit)
}

fn reader_waiting_for_its_reply(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let mut test = scene(transport, &sum_of_reads(Width::Long, MMIO, 2), page)?;
        let exit = removed_while_waiting(&mut test)?;
        CANCELED_READ.check(&test.region, &exit)?;
        finish_by_hand(&mut test.vcpu)?;
    }
    Ok(())
}

/// Two vCPUs wait at the same region: both are let go.
fn two_readers_waiting(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let program = sum_of_reads(Width::Long, MMIO, 2);
        let mut test = scene(transport, &program, page)?;
        let mut second = test.machine.add_vcpu(&program)?;
        let (exit, exit_of_second) = while_running(&mut test.vcpu, |first| {
            test.device.command()?;
            let (exit, ()) = while_running(&mut second, |second| {
                test.device.command()?;
                first.wait_until_asleep()?;
                second.wait_until_asleep()?;
                deassign(test.machine.fd(), &test.region).context("deassign with two waiters")
            })?;
            Ok(exit)
        })?;
        for (vcpu, exit) in [(&mut test.vcpu, exit), (&mut second, exit_of_second)] {
            CANCELED_READ.check(&test.region, &exit)?;
            finish_by_hand(vcpu)?;
        }
    }
    Ok(())
}

/// The VMM completes the cancelled read; the next one is a plain exit.
fn finish_by_hand(vcpu: &mut Vcpu) -> Result<()> {
    vcpu.supply(&(VALUE as u32).to_le_bytes());
    check_eq!(vcpu.run()?, mmio_read(MMIO, 4), "second read");
    vcpu.supply(&1u32.to_le_bytes());
    expect_halt(&vcpu.run()?)?;
    check_eq!(
        vcpu.reg(Reg::Si)?,
        VALUE + 1,
        "sum of what the VMM supplied"
    );
    Ok(())
}

fn writer_waiting_for_its_reply(_: &Context) -> Result<()> {
    let mut test = scene(
        Transport::Stream,
        &write_once(Width::Long, MMIO, VALUE),
        page,
    )?;
    let exit = removed_while_waiting(&mut test)?;
    canceled_write(true).check(&test.region, &exit)?;
    expect_halt(&test.vcpu.run()?)
}

fn writer_waiting_for_room(_: &Context) -> Result<()> {
    for transport in FILES {
        let machine = Machine::new()?;
        let (end, mut device) = channel::open(transport)?;
        let region = posted(mmio(MMIO, 0x1000, &end));
        set(machine.fd(), &region)?;
        let junk = channel::fill(&end)?;
        drop(end);
        let mut vcpu = machine.add_vcpu(&write_once(Width::Long, MMIO, VALUE))?;
        let (exit, ()) = while_running(&mut vcpu, |running| {
            running.wait_until_asleep()?;
            deassign(machine.fd(), &region).context("deassign with a waiter")
        })?;
        canceled_write(false).check(&region, &exit)?;
        expect_halt(&vcpu.run()?)?;
        for _ in 0..junk {
            device.frame()?;
        }
        check_eq!(
            device.frame()?,
            None,
            "what is behind the junk, {transport:?}"
        );
    }
    Ok(())
}

/// The waiter is in userspace when its region goes.
fn reader_interrupted(_: &Context) -> Result<()> {
    let mut test = scene(
        Transport::Seqpacket,
        &sum_of_reads(Width::Long, MMIO, 2),
        page,
    )?;
    let (exit, ()) = while_running(&mut test.vcpu, |running| {
        test.device.command()?;
        running.kick();
        Ok(())
    })?;
    check_eq!(exit, Exit::Interrupted, "exit");
    deassign(test.machine.fd(), &test.region)?;
    CANCELED_READ.check(&test.region, &test.vcpu.run()?)?;
    finish_by_hand(&mut test.vcpu)
}

/// Another region, another channel, a vCPU that waits there: not disturbed.
fn region_of_another_channel_goes_on(_: &Context) -> Result<()> {
    let mut test = scene(
        Transport::Seqpacket,
        &sum_of_reads(Width::Long, MMIO, 2),
        page,
    )?;
    let (other_end, _other_device) = channel::open(Transport::Seqpacket)?;
    let other = mmio(MMIO + 0x1000, 0x1000, &other_end);
    set(test.machine.fd(), &other)?;
    let (exit, ()) = while_running(&mut test.vcpu, |running| {
        test.device.command()?;
        running.wait_until_asleep()?;
        deassign(test.machine.fd(), &other)?;
        running.expect_waiting()?;
        test.device.reply(VALUE)?;
        test.device.command()?;
        test.device.reply(1)
    })?;
    expect_halt(&exit)?;
    check_eq!(test.vcpu.reg(Reg::Si)?, VALUE + 1, "sum");
    Ok(())
}

/// The reply of a cancelled access comes late, on a channel that another region goes on using:
/// it must not be taken for the other region's.
fn shared_channel_goes_on(_: &Context) -> Result<()> {
    let mut program = Asm::long();
    program
        .mov(Reg::Bx, MMIO)
        .load(Width::Long, Reg::Ax, Mem::At(Reg::Bx));
    program
        .mov(Reg::Bx, MMIO + 0x1000)
        .load(Width::Long, Reg::Di, Mem::At(Reg::Bx))
        .halt();
    for transport in TRANSPORTS {
        let (scene, end) = scene_with_end(transport, &program, page)?;
        let mut test = scene;
        let other = KvmIoregion {
            user_data: 2,
            ..mmio(MMIO + 0x1000, 0x1000, &end)
        };
        set(test.machine.fd(), &other)?;
        let exit = removed_while_waiting(&mut test)?;
        CANCELED_READ.check(&test.region, &exit)?;
        test.vcpu.supply(&(VALUE as u32).to_le_bytes());
        let (exit, ()) = while_running(&mut test.vcpu, |running| {
            let command = test.device.command()?;
            check_eq!(
                command,
                Command {
                    user_data: 2,
                    ..read_command(Width::Long, 0)
                },
                "command"
            );
            running.wait_until_asleep()?;
            test.device.reply(0xdead)?;
            test.device.reply(0x600d)
        })?;
        expect_halt(&exit)?;
        let values = (test.vcpu.reg(Reg::Ax)?, test.vcpu.reg(Reg::Di)?);
        check_eq!(values, (VALUE, 0x600d), "values, {transport:?}");
    }
    Ok(())
}

fn fresh_files(_: &Context) -> Result<()> {
    let program = sum_of_reads(Width::Long, MMIO, 2);
    let mut test = scene(Transport::Seqpacket, &program, page)?;
    let exit = removed_while_waiting(&mut test)?;
    CANCELED_READ.check(&test.region, &exit)?;
    test.vcpu.supply(&(VALUE as u32).to_le_bytes());
    Scene::anew(test.machine, &test.region, test.vcpu, Transport::Pipes)?.expect_healed(VALUE)
}

fn lets_go_of_the_files(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let machine = Machine::new()?;
        let (end, mut device) = channel::open_on(machine.fd(), transport)?;
        let region = mmio(MMIO, 0x1000, &end);
        set(machine.fd(), &region)?;
        drop(end);
        check_eq!(
            device.has_command()?,
            false,
            "hang-up while the region is there"
        );
        deassign(machine.fd(), &region)?;
        check_eq!(
            device.frame()?,
            None,
            "what the device reads, {transport:?}"
        );
    }
    Ok(())
}

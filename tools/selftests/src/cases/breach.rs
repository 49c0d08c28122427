// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Devices that break the protocol: a reply of the wrong length, or one that nobody asked for.

use anyhow::{bail, Context as _, Result};
use ioregion_wire::frame::FRAME_SIZE;
use ioregion_wire::uapi::{KvmIoregion, IOREGIONFD_FAILURE_SENT};
use libc::EPROTO;
use rawguest::{Exit, Machine, Reg, Width};

use super::failure::{goes_on, reader, OFFSET, READ, VALUE};
use crate::channel::{self, DeviceEnd, Transport, FILES};
use crate::check::check_eq;
use crate::expect::Expected;
use crate::guest::{expect_halt, read_command, read_once, sum_of_reads};
use crate::region::{mmio, page, set, MMIO};
use crate::scene::scene;
use crate::stage::while_running;
use crate::suite::{tests, Context};

tests!(
    "breach",
    Ioregion,
    [
        reply_of_wrong_length,
        reply_before_any_command,
        part_of_a_reply_before_any_command,
        one_reply_too_many,
        nonblocking_later,
        channel_stays_failed,
    ]
);

fn reply_of_wrong_length(_: &Context) -> Result<()> {
    for len in [1, 8, FRAME_SIZE - 1, FRAME_SIZE + 1, 2 * FRAME_SIZE] {
        let mut test = reader(Transport::Seqpacket)?;
        let (exit, ()) = while_running(&mut test.vcpu, |_| {
            test.device.command()?;
            test.device.send(&vec![0xff; len])
        })?;
        Expected {
            error: EPROTO,
            sent: true,
            ..READ
        }
        .check(&test.region, &exit)
        .with_context(|| format!("reply of {len} bytes"))?;
        goes_on(&mut test.vcpu, &test.region, EPROTO)?;
    }
    Ok(())
}

/// A failure with EPROTO, whose SENT flag tells whether the device got `commands` commands or
/// one more.
pub(super) fn check_unasked(
    exit: &Exit,
    region: &KvmIoregion,
    device: &mut DeviceEnd,
) -> Result<()> {
    let Exit::Failure(failure) = exit else {
        bail!("got {exit:x?}, want a failure");
    };
    let sent = failure.details.flags & IOREGIONFD_FAILURE_SENT != 0;
    Expected {
        error: EPROTO,
        sent,
        ..READ
    }
    .check(region, exit)?;
    check_eq!(
        device.has_command()?,
        sent,
        "whether a command is there, as SENT says"
    );
    Ok(())
}

fn reply_before_any_command(_: &Context) -> Result<()> {
    for transport in FILES {
        let mut test = reader(transport)?;
        test.device.reply(VALUE)?;
        let exit = test.vcpu.run()?;
        check_unasked(&exit, &test.region, &mut test.device)
            .with_context(|| format!("{transport:?}"))?;
        goes_on(&mut test.vcpu, &test.region, EPROTO)?;
    }
    Ok(())
}

fn part_of_a_reply_before_any_command(_: &Context) -> Result<()> {
    for transport in [Transport::Stream, Transport::Pipes] {
        let mut test = reader(transport)?;
        test.device.send(&[0xff; 7])?;
        let exit = test.vcpu.run()?;
        check_unasked(&exit, &test.region, &mut test.device)
            .with_context(|| format!("{transport:?}"))?;
        goes_on(&mut test.vcpu, &test.region, EPROTO)?;
    }
    Ok(())
}

/// The second reply is in the channel before the guest's second read.
fn one_reply_too_many(_: &Context) -> Result<()> {
    for transport in FILES {
        let mut test = reader(transport)?;
        // Both replies are there before the vCPU takes the first.
        let (exit, ()) = while_running(&mut test.vcpu, |running| {
            test.device.command()?;
            running.kick();
            Ok(())
        })?;
        check_eq!(exit, Exit::Interrupted, "exit");
        test.device.reply(VALUE)?;
        test.device.reply(0xbad)?;
        let exit = test.vcpu.run()?;
        check_unasked(&exit, &test.region, &mut test.device)
            .with_context(|| format!("{transport:?}"))?;
        test.vcpu.supply(&1u32.to_le_bytes());
        expect_halt(&test.vcpu.run()?)?;
        check_eq!(test.vcpu.reg(Reg::Si)?, VALUE + 1, "sum, {transport:?}");
    }
    Ok(())
}

/// Somebody sets `O_NONBLOCK` on a file that was blocking when the region was set: the vCPU
/// still sleeps until the reply is there.
fn nonblocking_later(_: &Context) -> Result<()> {
    for transport in FILES {
        let machine = Machine::new()?;
        let (end, mut device) = channel::open(transport)?;
        set(machine.fd(), &mmio(MMIO, 0x1000, &end))?;
        channel::set_nonblocking(end.read_fd(), true)?;
        let mut vcpu = machine.add_vcpu(&read_once(Width::Long, MMIO + OFFSET))?;
        let (exit, ()) = while_running(&mut vcpu, |running| {
            check_eq!(
                device.command()?,
                read_command(Width::Long, OFFSET),
                "command"
            );
            running.wait_until_asleep()?;
            device.reply(VALUE)
        })?;
        expect_halt(&exit)?;
        check_eq!(vcpu.reg(Reg::Ax)?, VALUE, "value, {transport:?}");
    }
    Ok(())
}

/// However often the guest tries, and though the device could answer again.
fn channel_stays_failed(_: &Context) -> Result<()> {
    let program = sum_of_reads(Width::Long, MMIO + OFFSET, 10);
    let mut test = scene(Transport::Seqpacket, &program, page)?;
    let (exit, ()) = while_running(&mut test.vcpu, |_| {
        test.device.command()?;
        test.device.send(&[0xff; 5])
    })?;
    Expected {
        error: EPROTO,
        sent: true,
        ..READ
    }
    .check(&test.region, &exit)?;
    test.vcpu.supply(&1u32.to_le_bytes());
    for n in 2..=10 {
        Expected {
            error: EPROTO,
            ..READ
        }
        .check(&test.region, &test.vcpu.run()?)?;
        check_eq!(test.device.has_command()?, false, "a command at access {n}");
        test.vcpu.supply(&1u32.to_le_bytes());
    }
    expect_halt(&test.vcpu.run()?)?;
    check_eq!(test.vcpu.reg(Reg::Si)?, 10, "sum of what the VMM supplied");
    Ok(())
}

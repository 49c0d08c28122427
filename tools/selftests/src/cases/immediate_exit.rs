// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `kvm_run.immediate_exit`: `KVM_RUN` looks, and never waits.

use std::thread;

use anyhow::{bail, Result};
use rawguest::{Exit, Kicker, Machine, Reg, Vcpu, Width};

use super::signals::VALUE;
use crate::channel::{self, DeviceEnd, Transport, FILES, TRANSPORTS};
use crate::check::check_eq;
use crate::guest::{expect_halt, posted_command, read_command, read_once, write_once};
use crate::region::{mmio, page, posted, set, MMIO};
use crate::scene::scene;
use crate::stage::{play_to_the_end, while_running, Signals};
use crate::suite::{tests, Context};

tests!(
    "immediate_exit",
    Ioregion,
    [
        sends_nothing_new,
        leaves_a_pending_reply,
        takes_a_reply_that_is_there,
        leaves_a_write_without_room
    ]
);

fn sends_nothing_new(_: &Context) -> Result<()> {
    let program = read_once(Width::Long, MMIO);
    let mut test = scene(Transport::Seqpacket, &program, page)?;
    test.vcpu.set_immediate_exit(true);
    check_eq!(
        test.vcpu.run()?,
        Exit::Interrupted,
        "KVM_RUN with immediate_exit"
    );
    check_eq!(test.device.has_command()?, false, "a command was sent");
    test.vcpu.set_immediate_exit(false);
    let log = play_to_the_end(&mut test.vcpu, &mut test.device, Signals::None, |_| {
        Ok(VALUE)
    })?;
    check_eq!(log, [read_command(Width::Long, 0)], "commands");
    Ok(())
}

/// A vCPU whose command the device has read and not answered, back in userspace.
fn interrupted_read(transport: Transport) -> Result<(Vcpu, DeviceEnd)> {
    let program = read_once(Width::Long, MMIO);
    let mut test = scene(transport, &program, page)?;
    let kicker = Kicker::for_this_thread(&test.vcpu)?;
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let command = test.device.command();
            kicker.kick();
            command
        });
        check_eq!(test.vcpu.run()?, Exit::Interrupted, "exit");
        let command = server
            .join()
            .map_err(|_| anyhow::anyhow!("the device panicked"))??;
        check_eq!(command, read_command(Width::Long, 0), "command");
        Ok::<_, anyhow::Error>(())
    })?;
    Ok((test.vcpu, test.device))
}

fn leaves_a_pending_reply(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let (mut vcpu, mut device) = interrupted_read(transport)?;
        vcpu.set_immediate_exit(true);
        // The device answers nothing meanwhile: a KVM_RUN that waits is a hang.
        for _ in 0..10 {
            check_eq!(
                vcpu.run()?,
                Exit::Interrupted,
                "KVM_RUN with immediate_exit"
            );
        }
        vcpu.set_immediate_exit(false);
        device.reply(VALUE)?;
        expect_halt(&vcpu.run()?)?;
        check_eq!(vcpu.reg(Reg::Ax)?, VALUE, "value, {transport:?}");
        check_eq!(device.has_command()?, false, "the command was sent again");
    }
    Ok(())
}

fn takes_a_reply_that_is_there(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let (mut vcpu, mut device) = interrupted_read(transport)?;
        device.reply(VALUE)?;
        vcpu.set_immediate_exit(true);
        match vcpu.run()? {
            Exit::Interrupted => {}
            exit => bail!("KVM_RUN with immediate_exit: {exit:x?}"),
        }
        check_eq!(
            vcpu.reg(Reg::Ax)?,
            VALUE,
            "the load is complete, {transport:?}"
        );
        vcpu.set_immediate_exit(false);
        expect_halt(&vcpu.run()?)?;
        check_eq!(device.has_command()?, false, "the command was sent again");
    }
    Ok(())
}

/// A posted write that found the channel full goes out once, when there is room.
fn leaves_a_write_without_room(_: &Context) -> Result<()> {
    for transport in FILES {
        let machine = Machine::new()?;
        let (end, mut device) = channel::open(transport)?;
        set(machine.fd(), &posted(mmio(MMIO, 0x1000, &end)))?;
        let junk = channel::fill(&end)?;
        let mut vcpu = machine.add_vcpu(&write_once(Width::Long, MMIO, VALUE))?;
        let (exit, ()) = while_running(&mut vcpu, |running| {
            running.wait_until_asleep()?;
            running.kick();
            Ok(())
        })?;
        check_eq!(exit, Exit::Interrupted, "exit");
        vcpu.set_immediate_exit(true);
        for _ in 0..10 {
            check_eq!(vcpu.run()?, Exit::Interrupted, "KVM_RUN without room");
        }
        for _ in 0..junk {
            device.frame()?;
        }
        check_eq!(
            device.has_command()?,
            false,
            "the command was sent without room"
        );
        check_eq!(vcpu.run()?, Exit::Interrupted, "KVM_RUN with room");
        check_eq!(
            device.command()?,
            posted_command(Width::Long, 0, VALUE),
            "command"
        );
        vcpu.set_immediate_exit(false);
        expect_halt(&vcpu.run()?)?;
        check_eq!(
            device.has_command()?,
            false,
            "the command was sent again, {transport:?}"
        );
    }
    Ok(())
}

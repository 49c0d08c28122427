// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Signals: the very same access goes on, once.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use anyhow::{Context as _, Result};
use ioregion_wire::frame::{Command, FRAME_SIZE};
use rawguest::{Asm, Exit, Kicker, Reg, Storm, Vcpu, Width};

use crate::channel::{Transport, TRANSPORTS};
use crate::check::check_eq;
use crate::guest::{
    counting_writes, expect_halt, posted_command, read_command, read_once, sum_of_reads,
    write_command,
};
use crate::region::{page, posted, MMIO};
use crate::scene::scene;
use crate::stage::{or_die, play_to_the_end, with_device, Signals};
use crate::suite::{tests, Context};
use crate::tasks;

tests!(
    "signals",
    Ioregion,
    [
        reads_in_a_storm_seqpacket,
        reads_in_a_storm_stream,
        reads_in_a_storm_pipes,
        reads_in_a_storm_ring,
        writes_in_a_storm_seqpacket,
        writes_in_a_storm_stream,
        writes_in_a_storm_pipes,
        writes_in_a_storm_ring,
        posted_writes_to_a_full_channel_in_a_storm,
        every_wait_interrupted,
        interrupted_between_halves_of_a_reply,
        restarting_handler_still_gives_eintr,
    ]
);

const COUNT: u32 = 10_000;
/// The device holds each so-manieth reply until the storm has hit the waiting vCPU.
const HELD: u32 = 100;
pub(super) const VALUE: u64 = 0x1234_5678;

/// Runs the guest to its end in a storm of signals and reports each interruption.
fn run_in_storm(context: &Context, vcpu: &mut Vcpu, interrupted: &Sender<()>) -> Result<()> {
    let _storm = Storm::start(Kicker::for_this_thread(vcpu)?, context.between_signals())?;
    loop {
        match vcpu.run()? {
            Exit::Interrupted => interrupted.send(()).context("the device is gone")?,
            exit => return expect_halt(&exit),
        }
    }
}

/// Waits for an interruption that comes from now on.
fn await_interruption(interruptions: &Receiver<()>) -> Result<()> {
    while interruptions.try_recv().is_ok() {}
    interruptions.recv().context("the vCPU is gone")
}

/// Runs a guest in a storm; the device answers the n-th command with n, and some only after the
/// storm has hit the waiting vCPU. Returns the vCPU and the commands.
fn play_in_storm(
    context: &Context,
    transport: Transport,
    program: &Asm,
) -> Result<(Vcpu, Vec<Command>)> {
    tasks::stay_on_one_cpu()?;
    let mut scene = scene(transport, program, page)?;
    let (interrupted, interruptions) = mpsc::channel();
    let mut n = 0;
    let answer = move |_: &_| {
        n += 1;
        if n % HELD == 0 {
            await_interruption(&interruptions)?;
        }
        Ok(n.into())
    };
    let vcpu = &mut scene.vcpu;
    let ((), log) = with_device(&mut scene.device, answer, || {
        run_in_storm(context, vcpu, &interrupted)
    })?;
    Ok((scene.vcpu, log))
}

fn reads_in_a_storm(context: &Context, transport: Transport) -> Result<()> {
    let count = context.times(COUNT);
    let (vcpu, log) = play_in_storm(context, transport, &sum_of_reads(Width::Long, MMIO, count))?;
    check_eq!(
        log,
        vec![read_command(Width::Long, 0); count as usize],
        "commands"
    );
    check_eq!(
        vcpu.reg(Reg::Si)?,
        u64::from(count * (count + 1) / 2),
        "sum of the values"
    );
    Ok(())
}

fn reads_in_a_storm_seqpacket(context: &Context) -> Result<()> {
    reads_in_a_storm(context, Transport::Seqpacket)
}

fn reads_in_a_storm_stream(context: &Context) -> Result<()> {
    reads_in_a_storm(context, Transport::Stream)
}

fn reads_in_a_storm_pipes(context: &Context) -> Result<()> {
    reads_in_a_storm(context, Transport::Pipes)
}

fn reads_in_a_storm_ring(context: &Context) -> Result<()> {
    reads_in_a_storm(context, Transport::Ring)
}

fn writes_in_a_storm(context: &Context, transport: Transport) -> Result<()> {
    let count = context.times(COUNT);
    let (_, log) = play_in_storm(
        context,
        transport,
        &counting_writes(Width::Long, MMIO, count),
    )?;
    let write = |value: u32| write_command(Width::Long, 0, value.into());
    check_eq!(log, (1..=count).map(write).collect::<Vec<_>>(), "commands");
    Ok(())
}

fn writes_in_a_storm_seqpacket(context: &Context) -> Result<()> {
    writes_in_a_storm(context, Transport::Seqpacket)
}

fn writes_in_a_storm_stream(context: &Context) -> Result<()> {
    writes_in_a_storm(context, Transport::Stream)
}

fn writes_in_a_storm_pipes(context: &Context) -> Result<()> {
    writes_in_a_storm(context, Transport::Pipes)
}

fn writes_in_a_storm_ring(context: &Context) -> Result<()> {
    writes_in_a_storm(context, Transport::Ring)
}

/// The device reads nothing until the vCPU, blocked in sending, has been interrupted; and so again
/// some times.
fn posted_writes_to_a_full_channel_in_a_storm(context: &Context) -> Result<()> {
    /// No channel holds twice as many commands, which are left at the last time.
    const BETWEEN: u32 = 2000;
    tasks::stay_on_one_cpu()?;
    let times = context.times(4).max(1);
    let count = BETWEEN * (times + 1);
    for transport in TRANSPORTS {
        let program = counting_writes(Width::Long, MMIO, count);
        let mut test = scene(transport, &program, |end| posted(page(end)))?;
        let (interrupted, interruptions) = mpsc::channel();
        let vcpu_thread = tasks::this_thread();
        let mut seen = 0;
        let slow = move |_: &_| {
            seen += 1;
            if seen % BETWEEN == 1 && seen < BETWEEN * times {
                tasks::wait_until_asleep(vcpu_thread)?;
                await_interruption(&interruptions)?;
            }
            Ok(0)
        };
        let ((), log) = with_device(&mut test.device, slow, || {
            run_in_storm(context, &mut test.vcpu, &interrupted)
        })?;
        let write = |value: u32| posted_command(Width::Long, 0, value.into());
        check_eq!(
            log,
            (1..=count).map(write).collect::<Vec<_>>(),
            "commands, {transport:?}"
        );
    }
    Ok(())
}

fn every_wait_interrupted(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let program = sum_of_reads(Width::Long, MMIO, 100);
        let mut test = scene(transport, &program, page)?;
        let mut n = 0;
        let answer = |_: &_| {
            n += 1;
            Ok(n)
        };
        let log = play_to_the_end(
            &mut test.vcpu,
            &mut test.device,
            Signals::EachCommand,
            answer,
        )?;
        check_eq!(log.len(), 100, "commands, {transport:?}");
        check_eq!(
            test.vcpu.reg(Reg::Si)?,
            5050,
            "sum of the values, {transport:?}"
        );
    }
    Ok(())
}

/// A stream has no messages: half a reply is kept while the vCPU is in userspace.
fn interrupted_between_halves_of_a_reply(_: &Context) -> Result<()> {
    for transport in [Transport::Stream, Transport::Pipes] {
        let program = read_once(Width::Long, MMIO);
        let mut test = scene(transport, &program, page)?;
        let kicker = Kicker::for_this_thread(&test.vcpu)?;
        let vcpu_thread = tasks::this_thread();
        let (interrupted, interruptions) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                or_die((|| {
                    test.device.command()?;
                    let mut reply = [0; FRAME_SIZE];
                    reply[..8].copy_from_slice(&VALUE.to_le_bytes());
                    for part in [&reply[..3], &reply[3..16], &reply[16..]] {
                        test.device.send(part)?;
                        if part.len() < 16 {
                            tasks::wait_until_asleep(vcpu_thread)?;
                            kicker.kick();
                            interruptions.recv().context("the vCPU is gone")?;
                        }
                    }
                    Ok(())
                })())
            });
            loop {
                match test.vcpu.run()? {
                    Exit::Interrupted => interrupted.send(())?,
                    exit => return expect_halt(&exit),
                }
            }
        })?;
        check_eq!(test.vcpu.reg(Reg::Ax)?, VALUE, "value, {transport:?}");
    }
    Ok(())
}

/// A handler with `SA_RESTART` must not make the kernel restart `KVM_RUN` by itself.
fn restarting_handler_still_gives_eintr(_: &Context) -> Result<()> {
    tasks::handle_sigusr2()?;
    let program = read_once(Width::Long, MMIO);
    let mut test = scene(Transport::Seqpacket, &program, page)?;
    let vcpu_thread = tasks::this_thread();
    let (interrupted, interruptions) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            or_die((|| {
                test.device.command()?;
                tasks::wait_until_asleep(vcpu_thread)?;
                tasks::send_sigusr2(vcpu_thread);
                interruptions.recv().context("the vCPU is gone")?;
                test.device.reply(VALUE)
            })())
        });
        check_eq!(test.vcpu.run()?, Exit::Interrupted, "exit");
        interrupted.send(())?;
        expect_halt(&test.vcpu.run()?)
    })?;
    check_eq!(test.vcpu.reg(Reg::Ax)?, VALUE, "value");
    Ok(())
}

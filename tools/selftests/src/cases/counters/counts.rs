// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What is counted, and as what.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context as _, Result};
use ioregion_ring::consumer::Consumer;
use ioregion_wire::uapi::KvmIoregion;
use module_tests::verdict::Skip;
use rawguest::ram::DATA;
use rawguest::{Asm, Reg, Width};
use vmm_sys_util::eventfd::EventFd;

use super::{fixture, mixed, set_doorbell, Line, SIZE};
use crate::cases::access::commands;
use crate::channel::{DeviceEnd, Transport, TRANSPORTS};
use crate::check::check_eq;
use crate::guest::{counting_writes, expect_halt, read_once, sum_of_reads};
use crate::region::{mmio, pio, posted, MMIO, PORT};
use crate::stage::{play, while_running, Signals};
use crate::suite::{tests, Context};

tests!(
    "counters",
    Ioregion,
    [
        reads_and_writes,
        posted_writes,
        string_instruction_is_one_access,
        sleep_and_how_long,
        spin,
        interrupted_access_counts_once,
        failures,
        time_outs,
        rules,
        what_is_no_regions_is_not_counted,
    ]
);

fn reads_and_writes(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let (machine, mut vcpu, mut device) =
            fixture(transport, &mixed(), |end| mmio(MMIO, SIZE, end))?;
        Line::only(machine.fd())?.check(&[])?;
        commands(&mut vcpu, &mut device)?;
        let line = Line::only(machine.fd())?;
        line.check(&[("reads", 3), ("writes", 2)])
            .with_context(|| format!("{transport:?}"))?;
    }
    Ok(())
}

fn posted_writes(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let program = counting_writes(Width::Long, MMIO, 7);
        let (machine, mut vcpu, _device) =
            fixture(transport, &program, |end| posted(mmio(MMIO, SIZE, end)))?;
        expect_halt(&vcpu.run()?)?;
        let line = Line::only(machine.fd())?;
        line.check(&[("writes", 7), ("posted", 7)])?;
        check_eq!(line.count("slept")?, 0, "slept, {transport:?}");
    }
    Ok(())
}

fn string_instruction_is_one_access(_: &Context) -> Result<()> {
    let mut program = Asm::long();
    program
        .mov(Reg::Dx, PORT.into())
        .mov(Reg::Di, DATA)
        .mov(Reg::Cx, 5)
        .rep_ins(Width::Long)
        .halt();
    let (machine, mut vcpu, mut device) =
        fixture(Transport::Seqpacket, &program, |end| pio(PORT, 4, end))?;
    commands(&mut vcpu, &mut device)?;
    let line = Line::only(machine.fd())?;
    line.check(&[("reads", 1)])?;
    check_eq!(line.word("bus")?, "pio", "bus");
    Ok(())
}

/// The wait is no shorter than the device took, and no longer than the whole.
fn sleep_and_how_long(_: &Context) -> Result<()> {
    const PAUSE: Duration = Duration::from_millis(20);
    for transport in TRANSPORTS {
        let program = read_once(Width::Long, MMIO);
        let (machine, mut vcpu, mut device) =
            fixture(transport, &program, |end| mmio(MMIO, SIZE, end))?;
        let began = Instant::now();
        let (exit, least) = while_running(&mut vcpu, |running| {
            device.command()?;
            running.wait_until_asleep()?;
            let asleep = Instant::now();
            // It is a duration that is tested.
            thread::sleep(PAUSE);
            let least = asleep.elapsed();
            device.reply(1)?;
            Ok(least)
        })?;
        let most = began.elapsed();
        expect_halt(&exit)?;
        let line = Line::only(machine.fd())?;
        line.check(&[("reads", 1)])?;
        check_eq!(line.count("slept")?, 1, "slept, {transport:?}");
        let log2 = |time: Duration| time.as_nanos().ilog2();
        let [(wait, 1)] = line.waits()?[..] else {
            anyhow::bail!("{line:?}: want one wait");
        };
        ensure!(
            (log2(least)..=log2(most)).contains(&wait),
            "a wait of 2^{wait} ns, want {least:?} to {most:?}, {transport:?}"
        );
    }
    Ok(())
}

/// The device polls on another CPU. Whether it answers within the microseconds of a spin depends on
/// who else wants the machine's processors.
fn spin(_: &Context) -> Result<()> {
    const COUNT: u32 = 2000;
    if thread::available_parallelism()?.get() == 1 {
        return Err(Skip("nobody spins on one CPU".into()).into());
    }
    let program = sum_of_reads(Width::Long, MMIO, COUNT);
    let (machine, mut vcpu, device) =
        fixture(Transport::Ring, &program, |end| mmio(MMIO, SIZE, end))?;
    let DeviceEnd::Ring(mut device) = device else {
        anyhow::bail!("not a ring");
    };
    let (exit, ()) = while_running(&mut vcpu, |_| {
        Consumer::disarm(&device.own);
        for _ in 0..COUNT {
            while device.take()?.is_none() {
                std::hint::spin_loop();
            }
            device.reply(1)?;
        }
        Ok(())
    })?;
    expect_halt(&exit)?;
    let line = Line::only(machine.fd())?;
    line.check(&[("reads", COUNT.into())])?;
    match line.count("spun")? {
        0 => Err(Skip("no answer came in time: is the machine busy?".into()).into()),
        _ => Ok(()),
    }
}

fn interrupted_access_counts_once(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let (machine, mut vcpu, mut device) =
            fixture(transport, &mixed(), |end| mmio(MMIO, SIZE, end))?;
        let signals = Signals::EachCommand;
        let (exit, _) = play(&mut vcpu, &mut device, signals, |_| Ok(0), |d| d.run())?;
        expect_halt(&exit)?;
        Line::only(machine.fd())?.check(&[("reads", 3), ("writes", 2)])?;
    }
    Ok(())
}

fn failures(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let (machine, mut vcpu, device) =
            fixture(transport, &mixed(), |end| mmio(MMIO, SIZE, end))?;
        drop(device);
        for _ in 0..3 {
            vcpu.run()?;
            vcpu.supply(&[0; 4]);
        }
        for _ in 0..2 {
            vcpu.run()?;
        }
        expect_halt(&vcpu.run()?)?;
        Line::only(machine.fd())?.check(&[("reads", 3), ("writes", 2), ("failed", 5)])?;
    }
    Ok(())
}

fn time_outs(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let program = read_once(Width::Long, MMIO);
        let (machine, mut vcpu, _device) = fixture(transport, &program, |end| KvmIoregion {
            timeout_ms: 5,
            ..mmio(MMIO, SIZE, end)
        })?;
        vcpu.run()?;
        vcpu.supply(&[0; 4]);
        expect_halt(&vcpu.run()?)?;
        Line::only(machine.fd())?.check(&[("reads", 1), ("timed_out", 1)])?;
    }
    Ok(())
}

/// What an eventfd takes is the rule's; what a rule posts is the device's.
fn rules(_: &Context) -> Result<()> {
    let eventfd = EventFd::new(0)?;
    for transport in TRANSPORTS {
        for (eventfd, want) in [(Some(&eventfd), ("ruled", 4)), (None, ("posted", 4))] {
            let program = counting_writes(Width::Long, MMIO + 0x50, 4);
            let (machine, mut vcpu, _device) =
                fixture(transport, &program, |end| mmio(MMIO, SIZE, end))?;
            set_doorbell(machine.fd(), 0x50, eventfd)?;
            expect_halt(&vcpu.run()?)?;
            let line = Line::only(machine.fd())?;
            line.check(&[("writes", 4), want])
                .with_context(|| format!("{transport:?}"))?;
        }
    }
    check_eq!(eventfd.read()?, 16, "signals of the eventfd");
    Ok(())
}

fn what_is_no_regions_is_not_counted(_: &Context) -> Result<()> {
    let program = read_once(Width::Long, MMIO + SIZE);
    let (machine, mut vcpu, _device) =
        fixture(Transport::Ring, &program, |end| mmio(MMIO, SIZE, end))?;
    vcpu.run()?;
    vcpu.supply(&[0; 4]);
    expect_halt(&vcpu.run()?)?;
    Line::only(machine.fd())?.check(&[])
}

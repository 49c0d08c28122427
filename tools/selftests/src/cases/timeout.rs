// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Regions with a time-out: a device that hangs has failed, and its answer comes too late.

pub(super) mod late;
pub(super) mod others;
pub(super) mod room;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context as _, Result};
use ioregion_wire::uapi::KvmIoregion;
use libc::{EPIPE, ETIMEDOUT};
use rawguest::{ram, Access, Asm, Exit, Kicker, Reg, Storm, Vcpu, Width};

use super::failure;
use crate::channel::{KvmEnd, Transport, TRANSPORTS};
use crate::check::check_eq;
use crate::expect::Expected;
use crate::guest::{expect_halt, read_command, sum_of_reads, write_once};
use crate::region::{page, pio, MMIO, PORT};
use crate::scene::{scene, Scene};
use crate::script::{values, Bus, Script};
use crate::stage::{while_running, with_device};
use crate::suite::{tests, Context};

tests!(
    "timeout",
    Ioregion,
    [
        read_is_given_up,
        write_is_given_up,
        port_read_is_given_up,
        string_input_is_given_up,
        signals_do_not_put_it_off,
        immediate_exit_does_not_put_it_off,
        strikes_after_a_stay_in_userspace,
        long_ones_do_not_strike_early,
        dead_device_is_no_hung_device,
    ]
);

const TIMEOUT: Duration = Duration::from_millis(100);
/// Not even a loaded machine takes as long.
const AGES: Duration = Duration::from_secs(20);
const OFFSET: u64 = failure::OFFSET;

/// The same region with a time-out.
fn limited(region: KvmIoregion, timeout: Duration) -> KvmIoregion {
    KvmIoregion {
        timeout_ms: timeout.as_millis() as u32,
        ..region
    }
}

/// An access that the device has seen and not answered.
fn given_up(want: Expected) -> Expected {
    Expected {
        error: ETIMEDOUT,
        sent: true,
        ..want
    }
}

/// What the guest of [`reader`] gives up.
fn given_up_read() -> Expected {
    given_up(failure::READ)
}

/// A guest that reads 4 bytes at `OFFSET` so often, from a region with [`TIMEOUT`].
fn reader(transport: Transport, count: u32) -> Result<Scene> {
    let program = sum_of_reads(Width::Long, MMIO + OFFSET, count);
    scene(transport, &program, |end| limited(page(end), TIMEOUT))
}

/// Runs until the failure that is wanted, which must not come before its time.
fn expect_given_up(vcpu: &mut Vcpu, region: &KvmIoregion, want: &Expected) -> Result<()> {
    let start = Instant::now();
    let exit = vcpu.run_through_signals()?;
    let elapsed = start.elapsed();
    want.check(region, &exit)?;
    let timeout = Duration::from_millis(region.timeout_ms.into());
    ensure!(
        (timeout..timeout + AGES).contains(&elapsed),
        "given up after {elapsed:?}"
    );
    Ok(())
}

fn read_is_given_up(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let mut test = reader(transport, 2)?;
        for value in [7u32, 8] {
            expect_given_up(&mut test.vcpu, &test.region, &given_up_read())
                .with_context(|| format!("{transport:?}"))?;
            check_eq!(
                test.device.command()?,
                read_command(Width::Long, OFFSET),
                "command"
            );
            test.vcpu.supply(&value.to_le_bytes());
        }
        expect_halt(&test.vcpu.run()?)?;
        check_eq!(test.vcpu.reg(Reg::Si)?, 15, "sum of what the VMM supplied");
        check_eq!(test.device.has_command()?, false, "a command");
    }
    Ok(())
}

fn write_is_given_up(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let program = write_once(Width::Word, MMIO + OFFSET, 0x0102);
        let mut test = scene(transport, &program, |end| limited(page(end), TIMEOUT))?;
        let want = Expected {
            access: Access::MmioWrite {
                address: MMIO + OFFSET,
                data: vec![2, 1],
            },
            size: 2,
            data: 0x0102,
            ..given_up_read()
        };
        expect_given_up(&mut test.vcpu, &test.region, &want)
            .with_context(|| format!("{transport:?}"))?;
        expect_halt(&test.vcpu.run()?)?;
    }
    Ok(())
}

/// The read of one byte that a port region gives up.
fn port_read(count: usize, done: u32) -> Expected {
    given_up(Expected {
        access: Access::PortIn {
            port: PORT,
            size: 1,
            count,
        },
        offset: 0,
        size: 1,
        done,
        ..failure::READ
    })
}

fn port_read_is_given_up(_: &Context) -> Result<()> {
    let program = Script::new(Bus::Pio).read(Width::Byte, 0).end();
    for transport in TRANSPORTS {
        let mut test = scene(transport, &program, |end| {
            limited(pio(PORT, 8, end), TIMEOUT)
        })?;
        expect_given_up(&mut test.vcpu, &test.region, &port_read(1, 0))
            .with_context(|| format!("{transport:?}"))?;
        test.vcpu.supply(&[0x5a]);
        expect_halt(&test.vcpu.run()?)?;
        check_eq!(values(&test.machine, 1)?, [0x5a], "value, {transport:?}");
    }
    Ok(())
}

/// Three elements are answered, the fourth is not.
fn string_input_is_given_up(_: &Context) -> Result<()> {
    let mut program = Asm::long();
    program
        .mov(Reg::Dx, PORT.into())
        .mov(Reg::Cx, 5)
        .mov(Reg::Di, ram::DATA);
    program.rep_ins(Width::Byte).halt();
    for transport in TRANSPORTS {
        let mut test = scene(transport, &program, |end| {
            limited(pio(PORT, 8, end), TIMEOUT)
        })?;
        let (exit, ()) = while_running(&mut test.vcpu, |_| {
            for n in 1..=3 {
                test.device.command()?;
                test.device.reply(n)?;
            }
            test.device.command().map(drop)
        })?;
        port_read(5, 3).check(&test.region, &exit)?;
        test.vcpu.supply_from(3, &[4, 5]);
        expect_halt(&test.vcpu.run()?)?;
        let want = [1, 2, 3, 4, 5];
        check_eq!(
            test.machine.ram().read(ram::DATA, 5)?,
            want,
            "{transport:?}"
        );
    }
    Ok(())
}

/// Each brings the vCPU to userspace and back, many times in the time that the device has.
fn signals_do_not_put_it_off(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let mut test = reader(transport, 1)?;
        let _storm = Storm::start(Kicker::for_this_thread(&test.vcpu)?, TIMEOUT / 20)?;
        expect_given_up(&mut test.vcpu, &test.region, &given_up_read())
            .with_context(|| format!("{transport:?}"))?;
    }
    Ok(())
}

/// A VMM that only looks learns of it, too.
fn immediate_exit_does_not_put_it_off(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let mut test = reader(transport, 1)?;
        let (exit, ()) = while_running(&mut test.vcpu, |running| {
            test.device.command()?;
            running.kick();
            Ok(())
        })?;
        check_eq!(exit, Exit::Interrupted, "exit");
        test.vcpu.set_immediate_exit(true);
        let start = Instant::now();
        let exit = loop {
            match test.vcpu.run()? {
                Exit::Interrupted if start.elapsed() < AGES => {}
                exit => break exit,
            }
        };
        given_up_read()
            .check(&test.region, &exit)
            .with_context(|| format!("{transport:?}"))?;
    }
    Ok(())
}

/// What is over when the vCPU comes back has not begun anew.
fn strikes_after_a_stay_in_userspace(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let mut test = reader(transport, 1)?;
        let (exit, ()) = while_running(&mut test.vcpu, |running| {
            test.device.command()?;
            running.kick();
            Ok(())
        })?;
        check_eq!(exit, Exit::Interrupted, "exit");
        let start = Instant::now();
        while start.elapsed() < 2 * TIMEOUT {
            thread::yield_now();
        }
        given_up_read()
            .check(&test.region, &test.vcpu.run()?)
            .with_context(|| format!("{transport:?}"))?;
    }
    Ok(())
}

/// The longest is 49 days.
fn long_ones_do_not_strike_early(_: &Context) -> Result<()> {
    for timeout_ms in [60_000, 1 << 31, u32::MAX] {
        for transport in TRANSPORTS {
            let program = sum_of_reads(Width::Long, MMIO, 20);
            let mut test = scene(transport, &program, |end: &KvmEnd| KvmIoregion {
                timeout_ms,
                ..page(end)
            })?;
            let ((), log) = with_device(
                &mut test.device,
                |_| Ok(1),
                || expect_halt(&test.vcpu.run()?),
            )
            .with_context(|| format!("{timeout_ms} ms, {transport:?}"))?;
            check_eq!(log.len(), 20, "commands");
        }
    }
    Ok(())
}

/// Its death is told at once, and as what it is.
fn dead_device_is_no_hung_device(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let program = sum_of_reads(Width::Long, MMIO + OFFSET, 1);
        let mut test = scene(transport, &program, |end| limited(page(end), 10 * AGES))?;
        let (exit, ()) = while_running(&mut test.vcpu, |running| {
            test.device.command()?;
            running.wait_until_asleep()?;
            drop(test.device);
            Ok(())
        })?;
        Expected {
            error: EPIPE,
            ..given_up_read()
        }
        .check(&test.region, &exit)
        .with_context(|| format!("{transport:?}"))?;
    }
    Ok(())
}

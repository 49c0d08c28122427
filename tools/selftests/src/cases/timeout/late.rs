// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Answers that come when nobody waits for them any more.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ioregion_wire::frame::Command;
use libc::ETIMEDOUT;
use rawguest::{Exit, Reg, Vcpu, Width};

use super::{expect_given_up, given_up_read, limited, reader};
use crate::channel::TRANSPORTS;
use crate::check::check_eq;
use crate::guest::{expect_halt, sum_of_reads};
use crate::random::Random;
use crate::region::{mmio, MMIO};
use crate::scene::scene;
use crate::script::{values, Bus, Script};
use crate::stage::{play, while_running, with_device, Signals};
use crate::suite::{tests, Context};

tests!(
    "timeout_late",
    Ioregion,
    [
        late_answer_is_dropped,
        answer_between_failure_and_next_access_is_dropped,
        several_late_answers_are_dropped,
        late_answer_is_not_another_vcpus,
        answers_about_when_it_strikes,
    ]
);

/// The second read waits when the first one's answer comes, and is not taken in by it.
fn late_answer_is_dropped(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let mut test = reader(transport, 2)?;
        expect_given_up(&mut test.vcpu, &test.region, &given_up_read())?;
        test.vcpu.supply(&7u32.to_le_bytes());
        let (exit, ()) = while_running(&mut test.vcpu, |_| {
            test.device.command()?;
            test.device.command()?;
            test.device.reply(0xdead)?;
            test.device.reply(0x600d)
        })?;
        expect_halt(&exit).with_context(|| format!("{transport:?}"))?;
        check_eq!(test.vcpu.reg(Reg::Si)?, 7 + 0x600d, "sum, {transport:?}");
    }
    Ok(())
}

/// Nobody waits when it comes.
fn answer_between_failure_and_next_access_is_dropped(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let mut test = reader(transport, 3)?;
        expect_given_up(&mut test.vcpu, &test.region, &given_up_read())?;
        test.device.command()?;
        test.device.reply(0xdead)?;
        test.vcpu.supply(&7u32.to_le_bytes());
        let (exit, log) = play(
            &mut test.vcpu,
            &mut test.device,
            Signals::None,
            |_| Ok(0x600d),
            |driver| driver.run(),
        )?;
        expect_halt(&exit).with_context(|| format!("{transport:?}"))?;
        check_eq!(log.len(), 2, "commands after the failure");
        check_eq!(
            test.vcpu.reg(Reg::Si)?,
            7 + 2 * 0x600d,
            "sum, {transport:?}"
        );
    }
    Ok(())
}

/// Of as many reads; then all answers at once.
fn several_late_answers_are_dropped(_: &Context) -> Result<()> {
    const LATE: u32 = 5;
    for transport in TRANSPORTS {
        let mut test = reader(transport, LATE + 1)?;
        for _ in 0..LATE {
            expect_given_up(&mut test.vcpu, &test.region, &given_up_read())?;
            test.vcpu.supply(&1u32.to_le_bytes());
        }
        let (exit, ()) = while_running(&mut test.vcpu, |_| {
            (0..=LATE).try_for_each(|_| test.device.command().map(drop))?;
            (0..LATE).try_for_each(|_| test.device.reply(0xdead))?;
            test.device.reply(0x600d)
        })?;
        expect_halt(&exit).with_context(|| format!("{transport:?}"))?;
        let sum = u64::from(LATE) + 0x600d;
        check_eq!(test.vcpu.reg(Reg::Si)?, sum, "sum, {transport:?}");
    }
    Ok(())
}

/// Of the vCPU that gave up, while another one waits; and of one that is gone.
fn late_answer_is_not_another_vcpus(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let mut test = reader(transport, 1)?;
        expect_given_up(&mut test.vcpu, &test.region, &given_up_read())?;
        drop(test.vcpu);
        let mut other = test.machine.add_vcpu(&sum_of_reads(Width::Long, MMIO, 2))?;
        let (exit, ()) = while_running(&mut other, |_| {
            test.device.command()?;
            test.device.command()?;
            test.device.reply(0xdead)?;
            test.device.reply(0x600d)?;
            test.device.command()?;
            test.device.reply(1)
        })?;
        expect_halt(&exit).with_context(|| format!("{transport:?}"))?;
        check_eq!(other.reg(Reg::Si)?, 0x600e, "sum, {transport:?}");
    }
    Ok(())
}

/// A device whose answers come a bit earlier or a bit later: each read yields its own answer or
/// fails, and no answer goes to another read.
fn answers_about_when_it_strikes(_: &Context) -> Result<()> {
    const COUNT: u32 = 40;
    const SHORT: Duration = Duration::from_millis(6);
    for transport in TRANSPORTS {
        let script = (0..COUNT).fold(Script::new(Bus::Mmio), |script, n| {
            script.read(Width::Long, 4 * n)
        });
        let mut test = scene(transport, &script.end(), |end| {
            limited(mmio(MMIO, 0x1000, end), SHORT)
        })?;
        let mut random = Random::new(11);
        let answer = |command: &Command| {
            thread::sleep(SHORT * (random.next() % 200) as u32 / 100);
            Ok(command.offset / 4 + 1)
        };
        let (supplied, _) =
            with_device(&mut test.device, answer, || supply_failed(&mut test.vcpu))?;
        let read = values(&test.machine, COUNT.into())?;
        for (n, value) in (0..).zip(read) {
            let want = if supplied.contains(&n) { 0 } else { n + 1 };
            check_eq!(value, want, "read {n}, {transport:?}");
        }
    }
    Ok(())
}

/// Runs to the end; the VMM supplies 0 for what is given up. Returns which reads those were.
fn supply_failed(vcpu: &mut Vcpu) -> Result<Vec<u64>> {
    let mut supplied = Vec::new();
    loop {
        match vcpu.run()? {
            Exit::Failure(failure) => {
                check_eq!(failure.details.error, ETIMEDOUT, "error");
                supplied.push(failure.details.offset / 4);
                vcpu.supply(&[0; 4]);
            }
            exit => {
                expect_halt(&exit)?;
                return Ok(supplied);
            }
        }
    }
}

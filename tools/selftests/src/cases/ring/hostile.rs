// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Devices that write into their area what they like.

use anyhow::{ensure, Context as _, Result};
use ioregion_ring::layout::CONSUMED_AT;
use ioregion_ring::memory::Memory;
use ioregion_wire::uapi::{IOREGION_CHANNEL_NO_VCPU, IOREGION_CHANNEL_WAIT, IOREGION_CHANNEL_WAKE};
use libc::{ECANCELED, EPIPE, EPROTO};
use rawguest::{Access, Exit, Reg, Vcpu, Width};

use super::{fixture, slots, Fixture};
use crate::channel::{KvmEnd, Transport};
use crate::check::check_eq;
use crate::expect::Expected;
use crate::guest::{counting_writes, expect_halt, sum_of_reads};
use crate::random::Random;
use crate::region::{deassign, mmio, posted, set, MMIO};
use crate::ring::{RingDevice, USUAL};
use crate::scene::Scene;
use crate::stage::{while_running, Running, Signals};
use crate::suite::{tests, Context};

tests!(
    "ring_hostile",
    Ioregion,
    [
        claim_of_too_much_is_eproto,
        claim_taken_back_is_eproto,
        answer_to_another_request_is_ignored,
        second_answer_is_ignored,
        random_words_everywhere,
    ]
);

const SLOTS: u32 = 4;

fn failed_write(value: u32) -> Expected {
    Expected {
        access: Access::MmioWrite {
            address: MMIO,
            data: value.to_le_bytes().to_vec(),
        },
        offset: 0,
        size: 4,
        data: value.into(),
        done: 0,
        error: EPROTO,
        sent: false,
    }
}

fn writer(writes: u32) -> Result<Fixture> {
    let program = counting_writes(Width::Long, MMIO, writes);
    fixture(&slots(SLOTS), &program, |end| {
        posted(mmio(MMIO, 0x1000, end))
    })
}

/// Every later access fails, too, also when the count is right again; with a fresh channel the
/// guest goes on.
fn claim_of_too_much_is_eproto(_: &Context) -> Result<()> {
    for claim in [u64::from(SLOTS) + 1, 1 << 63, u64::MAX] {
        let mut test = writer(SLOTS + 3)?;
        test.device.own.store(CONSUMED_AT, claim);
        let exit = test.vcpu.run()?;
        failed_write(SLOTS + 1)
            .check(&test.region, &exit)
            .with_context(|| format!("claim {claim:#x}"))?;
        test.device.own.store(CONSUMED_AT, SLOTS.into());
        let exit = test.vcpu.run()?;
        failed_write(SLOTS + 2)
            .check(&test.region, &exit)
            .context("second failure")?;
        goes_on_with_a_fresh_channel(test)?;
    }
    Ok(())
}

fn goes_on_with_a_fresh_channel(test: Fixture) -> Result<()> {
    deassign(test.machine.fd(), &test.region)?;
    let mut scene = Scene::anew(test.machine, &test.region, test.vcpu, Transport::Ring)?;
    let log = scene.run(Signals::None, |_| Ok(0))?;
    check_eq!(log.len(), 1, "accesses to the fresh channel");
    Ok(())
}

fn claim_taken_back_is_eproto(_: &Context) -> Result<()> {
    let mut test = writer(2 * SLOTS + 1)?;
    let device = &mut test.device;
    let (exit, ()) = while_running(&mut test.vcpu, |running| {
        running.wait_until_asleep()?;
        for _ in 0..SLOTS {
            ensure!(device.take()?.is_some(), "a write is missing");
        }
        // The next write is there once KVM has seen what was consumed.
        device.ioctl(IOREGION_CHANNEL_WAIT, IOREGION_CHANNEL_NO_VCPU.into())?;
        device.own.store(CONSUMED_AT, 2);
        device.own.full_barrier();
        device.ioctl(IOREGION_CHANNEL_WAKE, IOREGION_CHANNEL_NO_VCPU.into())?;
        Ok(())
    })?;
    failed_write(2 * SLOTS + 1).check(&test.region, &exit)
}

fn reader(count: u32) -> Result<Fixture> {
    let program = sum_of_reads(Width::Long, MMIO, count);
    fixture(&USUAL, &program, |end| mmio(MMIO, 0x1000, end))
}

/// Answers for a sleeping vCPU, which must go to sleep again.
fn answer_in_vain(running: &Running, device: &RingDevice, request: u64) -> Result<()> {
    running.wait_until_asleep()?;
    device.complete(0, request, 0xbad)?;
    running.wait_until_asleep()?;
    running.expect_waiting()
}

/// The answer of an access that was given up, and answers that nobody asked for.
fn answer_to_another_request_is_ignored(_: &Context) -> Result<()> {
    let Fixture {
        machine,
        mut vcpu,
        mut device,
        region,
    } = reader(2)?;
    let kvm_end = KvmEnd::Ring(device.weak());
    // A channel without regions is at its end.
    set(machine.fd(), &mmio(MMIO + 0x1000, 0x1000, &kvm_end))?;
    let (exit, ()) = while_running(&mut vcpu, |running| {
        device.next()?;
        running.wait_until_asleep()?;
        deassign(machine.fd(), &region).context("deassign with a waiter")?;
        Ok(())
    })?;
    let Exit::Failure(failure) = exit else {
        anyhow::bail!("got {exit:x?}, want a failure");
    };
    check_eq!(failure.details.error, ECANCELED, "error");
    vcpu.supply(&7u32.to_le_bytes());
    set(machine.fd(), &mmio(MMIO, 0x1000, &kvm_end)).context("set it again")?;
    let (exit, ()) = while_running(&mut vcpu, |running| {
        device.next()?;
        for request in [1, 0, u64::MAX, 1 << 32 | 2] {
            answer_in_vain(running, &device, request)?;
        }
        device.complete(0, 2, 0x600d)
    })?;
    expect_halt(&exit)?;
    check_eq!(vcpu.reg(Reg::Si)?, 7 + 0x600d, "sum");
    Ok(())
}

fn second_answer_is_ignored(_: &Context) -> Result<()> {
    let mut test = reader(2)?;
    let device = &mut test.device;
    let (exit, ()) = while_running(&mut test.vcpu, |running| {
        device.next()?;
        running.wait_until_asleep()?;
        device.complete(0, 1, 1)?;
        device.next()?;
        answer_in_vain(running, device, 1)?;
        device.complete(0, 2, 2)
    })?;
    expect_halt(&exit)?;
    check_eq!(test.vcpu.reg(Reg::Si)?, 3, "sum");
    Ok(())
}

/// Whatever the device stores, each access ends: with some value or with a failure, at the
/// latest when the device is gone.
fn random_words_everywhere(context: &Context) -> Result<()> {
    let (accesses, stores) = (context.times(3_000), context.times(200_000));
    for seed in 1..=3 {
        for is_posted in [false, true] {
            let program = match is_posted {
                false => sum_of_reads(Width::Long, MMIO, accesses),
                true => counting_writes(Width::Long, MMIO, accesses),
            };
            let Fixture {
                machine: _machine,
                mut vcpu,
                device,
                ..
            } = fixture(&slots(16), &program, |end| match is_posted {
                false => mmio(MMIO, 0x1000, end),
                true => posted(mmio(MMIO, 0x1000, end)),
            })?;
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    crate::stage::or_die(scribble(&device, Random::new(seed), stores))
                });
                run_to_the_end(&mut vcpu)
            })?;
        }
    }
    Ok(())
}

fn scribble(device: &RingDevice, mut random: Random, stores: u32) -> Result<()> {
    let mut likely = 0;
    for _ in 0..stores {
        let word = random.next() as usize % (device.own.size() / 8);
        let value = match random.next() % 4 {
            0 => random.next(),
            1 => 0,
            2 => random.next() % 64,
            _ => {
                likely += 1;
                device.own.store(RingDevice::line(0), likely);
                likely
            }
        };
        device.own.store(8 * word, value);
        if random.next() % 16 == 0 {
            let vcpu = random.next() % u64::from(USUAL.vcpus);
            device.ioctl(IOREGION_CHANNEL_WAKE, vcpu)?;
        }
    }
    Ok(())
}

fn run_to_the_end(vcpu: &mut Vcpu) -> Result<()> {
    loop {
        match vcpu.run()? {
            Exit::Failure(failure) => {
                let error = failure.details.error;
                ensure!([EPROTO, EPIPE].contains(&error), "failure {failure:x?}");
                vcpu.supply(&[0; 4]);
            }
            exit => return expect_halt(&exit),
        }
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Rules that are replaced and removed while the guest runs, and what outlives what.

use std::os::fd::AsRawFd;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use ioregion_wire::frame::Command;
use ioregion_wire::uapi::{KvmIoregion, KVM_IOREGION_RULE_READ};
use kvm_ioctls::VmFd;
use libc::EINVAL;
use rawguest::{Memory, Width};
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

use super::{fixture, pattern_at, Fixture, SIZE};
use crate::cases::access::VALUE;
use crate::channel::{self, Transport, TRANSPORTS};
use crate::check::{check_eq, expect_errno};
use crate::guest::{expect_halt, read_command, write_command};
use crate::region::{self, deassign};
use crate::rules::{self, doorbell, plain, NO_FD};
use crate::script::{values, Bus, Script, BUSES};
use crate::stage::{play_to_the_end, while_running, Signals};
use crate::suite::{tests, Context};

tests!(
    "rules_change",
    Ioregion,
    [
        replaced_as_a_whole,
        removed,
        refused_call_leaves_the_old_rules,
        other_registers,
        removed_with_their_region,
        each_region_has_its_own,
        access_under_way_stays_with_the_device,
        device_that_is_gone_does_not_matter,
        rings_after_the_device_is_gone,
    ]
);

const REGISTER: u32 = 0x40;
const NOTIFY: u32 = 0x50;
/// A write here goes to the device, whatever the rules.
const CHANGE: u32 = 0x80;

/// Reads the register and rings, asks for a change, and does both again.
fn program(bus: Bus) -> rawguest::Asm {
    Script::new(bus)
        .read(Width::Long, REGISTER)
        .write(Width::Long, NOTIFY, 1)
        .write(Width::Byte, CHANGE, 0)
        .read(Width::Long, REGISTER)
        .write(Width::Long, NOTIFY, 2)
        .end()
}

/// Runs [`program`] on a region whose plain rule is for the register, and makes `change` when
/// it asks for it. Returns what came to the device, but for that, and the values read.
fn run(
    bus: Bus,
    change: impl Fn(&VmFd, &KvmIoregion, &Memory) -> Result<()> + Sync,
) -> Result<(Vec<Command>, Vec<u64>)> {
    let rules = [plain(Width::Long, REGISTER, KVM_IOREGION_RULE_READ)];
    let mut test = fixture(Transport::Seqpacket, bus, SIZE, &rules, &program(bus))?;
    let (vm, region) = (test.machine.fd().clone(), test.region);
    let registers: Arc<Memory> = test.registers.clone();
    let answer = |command: &Command| {
        if command.offset == u64::from(CHANGE) {
            change(&vm, &region, &registers)?;
        }
        Ok(VALUE)
    };
    let mut log = play_to_the_end(&mut test.vcpu, &mut test.device, Signals::None, answer)?;
    log.retain(|command| command.offset != u64::from(CHANGE));
    Ok((log, values(&test.machine, 2)?))
}

fn read() -> Command {
    read_command(Width::Long, REGISTER.into())
}

fn ring(data: u64) -> Command {
    write_command(Width::Long, NOTIFY.into(), data)
}

const BY_DEVICE: u64 = VALUE & 0xffff_ffff;

/// The old rule is gone, the new one is there.
fn replaced_as_a_whole(_: &Context) -> Result<()> {
    for bus in BUSES {
        let event = EventFd::new(EFD_NONBLOCK)?;
        let fd = event.as_raw_fd();
        let (log, values) = run(bus, move |vm, region, _| {
            let rules = [doorbell(Width::Long, NOTIFY, fd)];
            rules::set(vm, region, None, &rules).context("replace the rules")
        })?;
        check_eq!(log, [ring(1), read()], "commands, {bus:?}");
        check_eq!(values, [pattern_at(REGISTER, 4), BY_DEVICE], "values");
        check_eq!(event.read().unwrap_or(0), 1, "eventfd, {bus:?}");
    }
    Ok(())
}

fn removed(_: &Context) -> Result<()> {
    for bus in BUSES {
        let (log, values) = run(bus, |vm, region, _| {
            rules::set(vm, region, None, &[]).context("remove the rules")
        })?;
        check_eq!(log, [ring(1), read(), ring(2)], "commands, {bus:?}");
        check_eq!(values, [pattern_at(REGISTER, 4), BY_DEVICE], "values");
    }
    Ok(())
}

/// Whichever of the new ones it is that is refused.
fn refused_call_leaves_the_old_rules(_: &Context) -> Result<()> {
    let (log, values) = run(Bus::Mmio, |vm, region, registers| {
        let good = doorbell(Width::Long, NOTIFY, NO_FD);
        let bad = plain(Width::Long, REGISTER + 1, KVM_IOREGION_RULE_READ);
        for rules in [[good, bad], [bad, good]] {
            let result = rules::set(vm, region, Some(registers), &rules);
            expect_errno(result, EINVAL, "bad rule")?;
        }
        Ok(())
    })?;
    check_eq!(log, [ring(1), ring(2)], "commands");
    check_eq!(values, [pattern_at(REGISTER, 4); 2], "values");
    Ok(())
}

/// The same rule on other memory.
fn other_registers(_: &Context) -> Result<()> {
    let other = Memory::shared(0x1000)?;
    other.store(REGISTER.into(), 0x600d_600du32)?;
    let (log, values) = run(Bus::Mmio, |vm, region, _| {
        let rules = [plain(Width::Long, REGISTER, KVM_IOREGION_RULE_READ)];
        rules::set(vm, region, Some(&other), &rules).context("other registers")
    })?;
    check_eq!(log, [ring(1), ring(2)], "commands");
    check_eq!(values, [pattern_at(REGISTER, 4), 0x600d_600d], "values");
    Ok(())
}

/// A region that is removed and set again has none.
fn removed_with_their_region(_: &Context) -> Result<()> {
    for bus in BUSES {
        let rules = [plain(Width::Long, REGISTER, KVM_IOREGION_RULE_READ)];
        let Fixture {
            machine,
            region,
            mut vcpu,
            ..
        } = fixture(Transport::Seqpacket, bus, SIZE, &rules, &program(bus))?;
        deassign(machine.fd(), &region).context("deassign a region with rules")?;
        let (end, mut device) = channel::open(Transport::Seqpacket)?;
        region::set(machine.fd(), &bus.region(SIZE, &end)).context("set it again")?;
        let log = crate::cases::access::commands(&mut vcpu, &mut device)?;
        let change = write_command(Width::Byte, CHANGE.into(), 0);
        let want = [read(), ring(1), change, read(), ring(2)];
        check_eq!(log, want, "commands, {bus:?}");
    }
    Ok(())
}

/// Two regions of one channel: a rule of one is none of the other's.
fn each_region_has_its_own(_: &Context) -> Result<()> {
    for transport in [Transport::Seqpacket, Transport::Ring] {
        let program = Script::new(Bus::Mmio)
            .read(Width::Long, REGISTER)
            .read(Width::Long, SIZE as u32 + REGISTER)
            .end();
        let machine = rawguest::Machine::new()?;
        let (end, mut device) = channel::open_on(machine.fd(), transport)?;
        let first = region::mmio(region::MMIO, SIZE, &end);
        let second = region::mmio(region::MMIO + SIZE, SIZE, &end);
        region::set(machine.fd(), &first)?;
        region::set(machine.fd(), &second)?;
        let registers = super::registers(SIZE)?;
        let rules = [plain(Width::Long, REGISTER, KVM_IOREGION_RULE_READ)];
        rules::set(machine.fd(), &second, Some(&registers), &rules)?;
        let mut vcpu = machine.add_vcpu(&program)?;
        let log = crate::cases::access::commands(&mut vcpu, &mut device)?;
        check_eq!(log, [read()], "commands, {transport:?}");
        check_eq!(
            values(&machine, 2)?,
            [BY_DEVICE, pattern_at(REGISTER, 4)],
            "values, {transport:?}"
        );
    }
    Ok(())
}

/// The rule comes when the device has the command already.
fn access_under_way_stays_with_the_device(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let program = Script::new(Bus::Mmio)
            .read(Width::Long, REGISTER)
            .read(Width::Long, REGISTER)
            .end();
        let mut test = fixture(transport, Bus::Mmio, SIZE, &[], &program)?;
        let (vm, region) = (test.machine.fd().clone(), test.region);
        let (registers, device) = (&test.registers, &mut test.device);
        let (exit, ()) = while_running(&mut test.vcpu, |running| {
            check_eq!(device.command()?, read(), "command");
            running.wait_until_asleep()?;
            let rules = [plain(Width::Long, REGISTER, KVM_IOREGION_RULE_READ)];
            rules::set(&vm, &region, Some(registers), &rules).context("with a waiter")?;
            running.expect_waiting()?;
            device.reply(VALUE)
        })?;
        expect_halt(&exit)?;
        check_eq!(
            values(&test.machine, 2)?,
            [BY_DEVICE, pattern_at(REGISTER, 4)],
            "values, {transport:?}"
        );
    }
    Ok(())
}

/// Registers and eventfds go on, and only what needs the device fails.
fn device_that_is_gone_does_not_matter(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let event = EventFd::new(EFD_NONBLOCK)?;
        let rules = [
            plain(Width::Long, REGISTER, KVM_IOREGION_RULE_READ),
            doorbell(Width::Long, NOTIFY, event.as_raw_fd()),
        ];
        let Fixture {
            machine,
            mut vcpu,
            device,
            ..
        } = fixture(transport, Bus::Mmio, SIZE, &rules, &program(Bus::Mmio))?;
        drop(device);
        let exit = vcpu.run()?;
        let rawguest::Exit::Failure(failure) = &exit else {
            anyhow::bail!("got {exit:x?}, want a failure, {transport:?}");
        };
        check_eq!(failure.details.offset, u64::from(CHANGE), "failed offset");
        check_eq!(failure.details.error, libc::EPIPE, "error, {transport:?}");
        expect_halt(&vcpu.run()?)?;
        check_eq!(
            values(&machine, 2)?,
            [pattern_at(REGISTER, 4); 2],
            "values, {transport:?}"
        );
        check_eq!(event.read().unwrap_or(0), 2, "eventfd, {transport:?}");
    }
    Ok(())
}

/// A ring into the channel of a device that is gone fails like any access.
fn rings_after_the_device_is_gone(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let program = Script::new(Bus::Mmio)
            .write(Width::Long, NOTIFY, 0x0102_0304)
            .end();
        let rules = [doorbell(Width::Long, NOTIFY, NO_FD)];
        let Fixture {
            region,
            mut vcpu,
            device,
            ..
        } = fixture(transport, Bus::Mmio, SIZE, &rules, &program)?;
        drop(device);
        crate::expect::Expected {
            access: rawguest::Access::MmioWrite {
                address: region.guest_paddr + u64::from(NOTIFY),
                data: vec![4, 3, 2, 1],
            },
            offset: NOTIFY.into(),
            size: 4,
            data: 0x0102_0304,
            done: 0,
            error: libc::EPIPE,
            sent: false,
        }
        .check(&region, &vcpu.run()?)
        .with_context(|| format!("{transport:?}"))?;
        expect_halt(&vcpu.run()?)?;
    }
    Ok(())
}

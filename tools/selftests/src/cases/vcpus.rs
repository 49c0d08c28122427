// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Several vCPUs on one channel, and vCPUs and VMs that go away.

use std::thread;

use anyhow::{bail, Context as _, Result};
use ioregion_wire::frame::{Command, Operation};
use rawguest::{ram, Asm, Exit, Machine, Mem, Reg, Vcpu, Width};

use crate::channel::{self, DeviceEnd, KvmEnd, Transport, FILES, TRANSPORTS};
use crate::check::check_eq;
use crate::guest::{expect_halt, posted_command, read_command, read_once, sum_of_reads};
use crate::region::{mmio, posted, set, MMIO};
use crate::stage::{or_die, while_running, with_device};
use crate::suite::{tests, Context};
use crate::tasks;

tests!(
    "vcpus",
    Ioregion,
    [
        each_gets_its_own_replies,
        two_commands_in_flight,
        duplicated_descriptor_is_the_same_channel,
        posted_write_is_before_what_follows_it,
        interrupted_vcpu_does_not_hold_up_another,
        interrupted_vcpu_finds_its_reply_later,
        closed_vcpu_does_not_hold_up_another,
        closed_vm_hangs_up,
        exit_of_the_process_hangs_up,
    ]
);

const FIRST: u64 = 0x10;
const SECOND: u64 = 0x20;

/// What the device answers to a read at an offset.
fn value_at(offset: u64) -> u64 {
    3 * offset + 1
}

/// A machine with one region, and a vCPU for each program.
fn fixture(transport: Transport, programs: [&Asm; 2]) -> Result<(Machine, [Vcpu; 2], DeviceEnd)> {
    let machine = Machine::new()?;
    let (end, device) = channel::open_on(machine.fd(), transport)?;
    set(machine.fd(), &mmio(MMIO, 0x1000, &end))?;
    let vcpus = [
        machine.add_vcpu(programs[0])?,
        machine.add_vcpu(programs[1])?,
    ];
    Ok((machine, vcpus, device))
}

/// Two vCPUs that read once each, at `FIRST` and at `SECOND`.
fn two_readers(transport: Transport) -> Result<(Machine, [Vcpu; 2], DeviceEnd)> {
    let read = |offset| read_once(Width::Long, MMIO + offset);
    fixture(transport, [&read(FIRST), &read(SECOND)])
}

/// Runs both vCPUs to their end, each in its thread.
fn run_both(vcpus: &mut [Vcpu; 2]) -> Result<()> {
    thread::scope(|scope| {
        let threads = vcpus
            .each_mut()
            .map(|vcpu| scope.spawn(|| vcpu.run_through_signals()));
        for vcpu in threads {
            let exit = vcpu
                .join()
                .map_err(|_| anyhow::anyhow!("a vCPU's thread panicked"))?;
            expect_halt(&exit?)?;
        }
        Ok(())
    })
}

fn each_gets_its_own_replies(context: &Context) -> Result<()> {
    let count = context.times(10_000);
    tasks::stay_on_one_cpu()?;
    let read = |offset| sum_of_reads(Width::Long, MMIO + offset, count);
    let (_machine, mut vcpus, mut device) =
        fixture(Transport::Seqpacket, [&read(FIRST), &read(SECOND)])?;
    let answer = |command: &Command| Ok(value_at(command.offset));
    let ((), log) = with_device(&mut device, answer, || run_both(&mut vcpus))?;
    check_eq!(log.len(), 2 * count as usize, "commands");
    for (vcpu, offset) in vcpus.iter().zip([FIRST, SECOND]) {
        let want = u64::from(count) * value_at(offset);
        check_eq!(vcpu.reg(Reg::Si)?, want, "sum of the reads at {offset:#x}");
    }
    Ok(())
}

/// The device answers nothing before it has both commands.
fn two_commands_in_flight(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let (_machine, [mut first, mut second], mut device) = two_readers(transport)?;
        let (exit, exit_of_second) = while_running(&mut first, |_| {
            let one = device.command()?;
            let (exit, ()) = while_running(&mut second, |_| {
                let other = device.command()?;
                check_eq!([one.offset, other.offset], [FIRST, SECOND], "offsets");
                device.reply(value_at(FIRST))?;
                device.reply(value_at(SECOND))
            })?;
            Ok(exit)
        })?;
        expect_halt(&exit)?;
        expect_halt(&exit_of_second)?;
        let values = [first.reg(Reg::Ax)?, second.reg(Reg::Ax)?];
        check_eq!(
            values,
            [value_at(FIRST), value_at(SECOND)],
            "values, {transport:?}"
        );
    }
    Ok(())
}

/// Two regions, the second set through duplicates of the first one's descriptors: one channel,
/// one order of replies.
fn duplicated_descriptor_is_the_same_channel(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let machine = Machine::new()?;
        let (end, mut device) = channel::open_on(machine.fd(), transport)?;
        set(machine.fd(), &mmio(MMIO, 0x1000, &end))?;
        set(
            machine.fd(),
            &mmio(MMIO + 0x1000, 0x1000, &end.duplicate()?),
        )?;
        let mut first = machine.add_vcpu(&read_once(Width::Long, MMIO + FIRST))?;
        let mut second = machine.add_vcpu(&read_once(Width::Long, MMIO + 0x1000 + SECOND))?;
        leave_pending(&mut first, &mut device, FIRST)?;
        read_past_the_first(&mut second, &mut device)?;
        expect_halt(&first.run()?)?;
        check_eq!(first.reg(Reg::Ax)?, value_at(FIRST), "value, {transport:?}");
    }
    Ok(())
}

/// Flags in RAM by which the two guests take turns.
const WRITTEN: Mem = Mem::Ram(ram::DATA as u32);
const SEEN: Mem = Mem::Ram(ram::DATA as u32 + 0x40);

/// A posts a write, then sets a flag in RAM. B sees the flag, then reads the region: the device
/// has the write before the read, every time.
fn posted_write_is_before_what_follows_it(_: &Context) -> Result<()> {
    const ROUNDS: u32 = 200;
    let mut writer = Asm::long();
    writer.mov(Reg::Bx, MMIO).repeat(ROUNDS, |body| {
        body.add_imm(Reg::Si, 1)
            .store(Width::Long, Mem::At(Reg::Bx), Reg::Si);
        body.mov(Reg::Ax, 1).store(Width::Long, WRITTEN, Reg::Ax);
        body.spin_until_set(SEEN)
            .zero(Reg::Ax)
            .store(Width::Long, SEEN, Reg::Ax);
    });
    writer.halt();
    let mut reader = Asm::long();
    reader.mov(Reg::Bx, MMIO).repeat(ROUNDS, |body| {
        body.spin_until_set(WRITTEN)
            .zero(Reg::Ax)
            .store(Width::Long, WRITTEN, Reg::Ax);
        body.load(Width::Long, Reg::Ax, Mem::At(Reg::Bx))
            .add(Reg::Si, Reg::Ax);
        body.mov(Reg::Ax, 1).store(Width::Long, SEEN, Reg::Ax);
    });
    reader.halt();
    for transport in TRANSPORTS {
        let machine = Machine::new()?;
        let (end, mut device) = channel::open_on(machine.fd(), transport)?;
        set(machine.fd(), &posted(mmio(MMIO, 0x1000, &end)))?;
        let mut vcpus = [machine.add_vcpu(&writer)?, machine.add_vcpu(&reader)?];
        let mut last_written = 0;
        let answer = move |command: &Command| {
            if let Operation::Write(value) = command.operation {
                last_written = value;
            }
            Ok(last_written)
        };
        let ((), log) = with_device(&mut device, answer, || run_both(&mut vcpus))?;
        let round = |n: u32| {
            [
                posted_command(Width::Long, 0, n.into()),
                read_command(Width::Long, 0),
            ]
        };
        check_eq!(
            log,
            (1..=ROUNDS).flat_map(round).collect::<Vec<_>>(),
            "{transport:?}"
        );
        let sum = u64::from(ROUNDS * (ROUNDS + 1) / 2);
        check_eq!(
            vcpus[1].reg(Reg::Si)?,
            sum,
            "sum of what B read, {transport:?}"
        );
    }
    Ok(())
}

/// Runs `vcpu` until the device has its command, and brings it back to userspace.
fn leave_pending(vcpu: &mut Vcpu, device: &mut DeviceEnd, offset: u64) -> Result<()> {
    let (exit, ()) = while_running(vcpu, |running| {
        check_eq!(
            device.command()?,
            read_command(Width::Long, offset),
            "command"
        );
        running.kick();
        Ok(())
    })?;
    check_eq!(exit, Exit::Interrupted, "exit");
    Ok(())
}

/// With `first` away, `second` reads; the device answers both in order.
fn read_past_the_first(second: &mut Vcpu, device: &mut DeviceEnd) -> Result<()> {
    let (exit, ()) = while_running(second, |running| {
        check_eq!(
            device.command()?,
            read_command(Width::Long, SECOND),
            "command"
        );
        running.wait_until_asleep()?;
        device.reply(value_at(FIRST))?;
        device.reply(value_at(SECOND))
    })?;
    expect_halt(&exit)?;
    check_eq!(
        second.reg(Reg::Ax)?,
        value_at(SECOND),
        "value of the other vCPU"
    );
    Ok(())
}

fn interrupted_vcpu_does_not_hold_up_another(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let (_machine, [mut first, mut second], mut device) = two_readers(transport)?;
        leave_pending(&mut first, &mut device, FIRST)?;
        read_past_the_first(&mut second, &mut device)?;
    }
    Ok(())
}

fn interrupted_vcpu_finds_its_reply_later(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let (_machine, [mut first, mut second], mut device) = two_readers(transport)?;
        leave_pending(&mut first, &mut device, FIRST)?;
        read_past_the_first(&mut second, &mut device)?;
        expect_halt(&first.run()?)?;
        check_eq!(first.reg(Reg::Ax)?, value_at(FIRST), "value, {transport:?}");
        check_eq!(device.has_command()?, false, "the command was sent again");
    }
    Ok(())
}

/// KVM keeps a vCPU until its VM goes, but nobody will ever run this one again.
fn closed_vcpu_does_not_hold_up_another(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let (_machine, [mut first, mut second], mut device) = two_readers(transport)?;
        leave_pending(&mut first, &mut device, FIRST)?;
        drop(first);
        read_past_the_first(&mut second, &mut device)?;
    }
    Ok(())
}

fn closed_vm_hangs_up(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let (machine, [mut first, second], mut device) = two_readers(transport)?;
        leave_pending(&mut first, &mut device, FIRST)?;
        check_eq!(
            device.has_command()?,
            false,
            "hang-up while the VM is there"
        );
        drop((first, second, machine));
        check_eq!(
            device.frame()?,
            None,
            "what the device reads, {transport:?}"
        );
    }
    Ok(())
}

/// A VMM that is killed in the middle of an access.
fn exit_of_the_process_hangs_up(_: &Context) -> Result<()> {
    for transport in FILES {
        let (end, mut device) = channel::open(transport)?;
        // SAFETY: this process has one thread, so the child may do what it likes.
        match unsafe { libc::fork() } {
            -1 => bail!("fork: {}", std::io::Error::last_os_error()),
            0 => {
                drop(device);
                or_die(be_a_vmm(&end));
            }
            child => {
                drop(end);
                device.command().context("command of the child's guest")?;
                // SAFETY: kill and waitpid take integers and a null pointer.
                unsafe {
                    libc::kill(child, libc::SIGKILL);
                    libc::waitpid(child, std::ptr::null_mut(), 0);
                }
                check_eq!(
                    device.frame()?,
                    None,
                    "what the device reads, {transport:?}"
                );
            }
        }
    }
    Ok(())
}

/// Runs a guest whose read is never answered.
fn be_a_vmm(end: &KvmEnd) -> Result<()> {
    let machine = Machine::new()?;
    set(machine.fd(), &mmio(MMIO, 0x1000, end))?;
    let exit = machine.add_vcpu(&read_once(Width::Long, MMIO))?.run()?;
    bail!("the guest came back: {exit:x?}")
}

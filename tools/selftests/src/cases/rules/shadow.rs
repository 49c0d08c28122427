// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Registers that the guest also reads without KVM: a read-only memory slot over the region.

use anyhow::{ensure, Context as _, Result};
use ioregion_wire::frame::{Command, Operation};
use ioregion_wire::uapi::{KvmIoregionRule, KVM_IOREGION_RULE_WRITE};
use rawguest::{Asm, Mem, Reg, Width};
use rustix::fs::{fallocate, FallocateFlags};

use super::{pattern_at, Fixture};
use crate::cases::access::{self, VALUE};
use crate::channel::{Transport, TRANSPORTS};
use crate::check::check_eq;
use crate::guest::{expect_halt, mmio_write, write_command, MMIO_WIDTHS};
use crate::region::{deassign, MMIO};
use crate::rules::{plain, w1c};
use crate::script::{values, Bus, Script};
use crate::stage::{while_running, with_device};
use crate::suite::{tests, Context};
use crate::tasks;

tests!(
    "shadow",
    Ioregion,
    [
        reads_take_no_exit,
        reads_of_sixteen_bytes,
        guest_sees_what_the_device_stores,
        writes_reach_the_region,
        rules_show_in_the_page,
        writes_without_a_region_are_the_vmms,
        slot_comes_and_goes,
        hole_punched_by_the_device,
        truncated_by_the_device,
    ]
);

const SLOT: u32 = 1;
const PAGE: u64 = 0x1000;
const STATUS: u32 = 0x60;
const ACK: u32 = 0x64;

/// The registers of the region are a page of the guest's, too.
fn fixture(transport: Transport, rules: &[KvmIoregionRule], program: &Asm) -> Result<Fixture> {
    let test = super::fixture(transport, Bus::Mmio, PAGE, rules, program)?;
    test.machine.show_read_only(SLOT, MMIO, &test.registers)?;
    Ok(test)
}

/// Nobody plays the device, and none of the reads waits for it or comes to the VMM.
fn reads_take_no_exit(_: &Context) -> Result<()> {
    let offsets = [0, 1, 0x60, 0x7fd, 0xff8];
    for transport in TRANSPORTS {
        let script = MMIO_WIDTHS
            .iter()
            .fold(Script::new(Bus::Mmio), |script, &width| {
                offsets
                    .iter()
                    .fold(script, |script, &at| script.read(width, at))
            });
        let mut test = fixture(transport, &[], &script.end())?;
        expect_halt(&test.vcpu.run()?)?;
        check_eq!(test.device.has_command()?, false, "a command");
        let want: Vec<u64> = MMIO_WIDTHS
            .iter()
            .flat_map(|width| offsets.map(|at| pattern_at(at, width.bytes())))
            .collect();
        let got = values(&test.machine, want.len() as u64)?;
        check_eq!(got, want, "values, {transport:?}");
    }
    Ok(())
}

fn reads_of_sixteen_bytes(_: &Context) -> Result<()> {
    let mut program = Asm::long();
    program
        .mov(Reg::Bx, MMIO + 0x21)
        .load_sse(Mem::At(Reg::Bx))
        .halt();
    let mut test = fixture(Transport::Seqpacket, &[], &program)?;
    expect_halt(&test.vcpu.run()?)?;
    let want = test.registers.read(0x21, 16)?;
    check_eq!(test.vcpu.xmm0()?[..], want[..], "xmm0");
    Ok(())
}

/// While it runs, in the order of the stores.
fn guest_sees_what_the_device_stores(_: &Context) -> Result<()> {
    let mut program = Asm::long();
    program
        .mov(Reg::Bx, MMIO + u64::from(STATUS))
        .spin_until_set(Mem::At(Reg::Bx))
        .mov(Reg::Bx, MMIO + 0x100)
        .load(Width::Quad, Reg::Si, Mem::At(Reg::Bx))
        .halt();
    let mut test = fixture(Transport::Ring, &[], &program)?;
    test.registers.store(STATUS.into(), 0u32)?;
    let registers = &test.registers;
    let (exit, ()) = while_running(&mut test.vcpu, |_| {
        registers.store(0x100, VALUE)?;
        registers.store(STATUS.into(), 0x600du32)?;
        Ok(())
    })?;
    expect_halt(&exit)?;
    check_eq!(test.vcpu.reg(Reg::Ax)?, 0x600d, "status");
    check_eq!(test.vcpu.reg(Reg::Si)?, VALUE, "stored before the status");
    Ok(())
}

fn writes_reach_the_region(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        for width in MMIO_WIDTHS {
            let program = Script::new(Bus::Mmio)
                .write(width, STATUS, VALUE)
                .read(width, STATUS)
                .end();
            let mut test = fixture(transport, &[], &program)?;
            let log = access::commands(&mut test.vcpu, &mut test.device)?;
            let what = format!("{transport:?} {width:?}");
            let want = [write_command(width, STATUS.into(), VALUE)];
            check_eq!(log, want, "commands, {what}");
            let old = pattern_at(STATUS, width.bytes());
            check_eq!(values(&test.machine, 1)?, [old], "value, {what}");
            test.expect_registers(&[], &what)?;
        }
    }
    Ok(())
}

/// KVM stores to the page that the guest then reads.
fn rules_show_in_the_page(_: &Context) -> Result<()> {
    for width in MMIO_WIDTHS {
        let rules = [
            plain(width, 0x100, KVM_IOREGION_RULE_WRITE),
            w1c(width, ACK + 4, STATUS),
        ];
        let program = Script::new(Bus::Mmio)
            .write(width, 0x100, VALUE)
            .read(width, 0x100)
            .write(width, ACK + 4, VALUE)
            .read(width, STATUS)
            .end();
        let mut test = fixture(Transport::Seqpacket, &rules, &program)?;
        expect_halt(&test.vcpu.run()?)?;
        check_eq!(test.device.has_command()?, false, "a command");
        let left = pattern_at(STATUS, width.bytes()) & !VALUE;
        let want = [width.mask(VALUE), left];
        check_eq!(values(&test.machine, 2)?, want, "values, {width:?}");
    }
    Ok(())
}

fn writes_without_a_region_are_the_vmms(_: &Context) -> Result<()> {
    let rules = [plain(Width::Long, STATUS, KVM_IOREGION_RULE_WRITE)];
    let program = Script::new(Bus::Mmio)
        .write(Width::Long, STATUS, 0x0102_0304)
        .read(Width::Long, STATUS)
        .end();
    let mut test = fixture(Transport::Seqpacket, &rules, &program)?;
    deassign(test.machine.fd(), &test.region)?;
    let at = MMIO + u64::from(STATUS);
    let want = mmio_write(at, &[4, 3, 2, 1]);
    check_eq!(test.vcpu.run()?, want, "write after the region is gone");
    expect_halt(&test.vcpu.run()?)?;
    let want = [pattern_at(STATUS, 4)];
    check_eq!(values(&test.machine, 1)?, want, "value");
    Ok(())
}

/// Reads are loads or the device's, writes always the device's: none is lost or comes twice.
fn slot_comes_and_goes(_: &Context) -> Result<()> {
    const COUNT: u32 = 3_000;
    tasks::stay_on_one_cpu()?;
    for transport in [Transport::Seqpacket, Transport::Ring] {
        let mut program = Asm::long();
        program
            .mov(Reg::Bx, MMIO + u64::from(STATUS))
            .repeat(COUNT, |body| {
                body.add_imm(Reg::Di, 1)
                    .store(Width::Long, Mem::At(Reg::Bx), Reg::Di)
                    .zero(Reg::Ax)
                    .load(Width::Long, Reg::Ax, Mem::At(Reg::Bx))
                    .add(Reg::Si, Reg::Ax);
            })
            .halt();
        let mut test = fixture(transport, &[], &program)?;
        test.registers.store(STATUS.into(), 3u32)?;
        let (machine, registers, vcpu) = (&test.machine, &test.registers, &mut test.vcpu);
        let (rounds, log) = with_device(
            &mut test.device,
            |_| Ok(3),
            || {
                let mut rounds = 0;
                let (exit, ()) = while_running(vcpu, |running| {
                    while !running.has_returned() {
                        machine.remove_slot(SLOT)?;
                        machine.show_read_only(SLOT, MMIO, registers)?;
                        rounds += 1;
                    }
                    Ok(())
                })?;
                expect_halt(&exit)?;
                Ok(rounds)
            },
        )?;
        ensure!(rounds > 1, "the slot did not come and go");
        let writes: Vec<u64> = log.iter().filter_map(written).collect();
        let want: Vec<u64> = (1..=COUNT.into()).collect();
        check_eq!(writes, want, "writes, {transport:?}");
        let sum = u64::from(3 * COUNT);
        check_eq!(test.vcpu.reg(Reg::Si)?, sum, "sum of the reads");
    }
    Ok(())
}

fn written(command: &Command) -> Option<u64> {
    match command.operation {
        Operation::Write(data) => Some(data),
        Operation::Read => None,
    }
}

/// Reads the page, changes both registers by the rules, reads the page.
fn hostile() -> Result<Fixture> {
    let rules = [
        plain(Width::Long, 0x100, KVM_IOREGION_RULE_WRITE),
        w1c(Width::Long, ACK, STATUS),
    ];
    let program = Script::new(Bus::Mmio)
        .read(Width::Long, STATUS)
        .write(Width::Long, 0x100, VALUE)
        .write(Width::Long, ACK, 1)
        .write(Width::Word, 0, 7)
        .read(Width::Long, 0x100)
        .end();
    fixture(Transport::Ring, &rules, &program)
}

/// The guest loads from the file's new page, KVM stores to the old one: both are memory, and
/// what the guest reads is the device's fault.
fn hole_punched_by_the_device(_: &Context) -> Result<()> {
    let mut test = hostile()?;
    let file = test.registers.file().context("no file")?;
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(file, punch, 0, PAGE).context("punch a hole")?;
    let log = access::commands(&mut test.vcpu, &mut test.device)?;
    check_eq!(log, [write_command(Width::Word, 0, 7)], "commands");
    check_eq!(values(&test.machine, 2)?, [0, 0], "values");
    Ok(())
}

/// A load from a page that is not there any more ends `KVM_RUN`, as with any memory slot; when
/// it is there again the guest goes on.
fn truncated_by_the_device(_: &Context) -> Result<()> {
    let mut test = hostile()?;
    let file = test.registers.file().context("no file")?;
    file.set_len(0).context("truncate")?;
    match test.vcpu.run() {
        Err(rawguest::Error::Call { source, .. }) => {
            check_eq!(
                source.raw_os_error(),
                Some(libc::EFAULT),
                "errno of KVM_RUN"
            );
        }
        other => anyhow::bail!("KVM_RUN: got {other:?}, want EFAULT"),
    }
    file.set_len(PAGE).context("extend")?;
    let log = access::commands(&mut test.vcpu, &mut test.device)?;
    check_eq!(log, [write_command(Width::Word, 0, 7)], "commands");
    check_eq!(values(&test.machine, 2)?, [0, 0], "values");
    Ok(())
}

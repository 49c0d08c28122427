// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Registers whose memory goes away under KVM, which has pinned it.

use std::fs::{self, File};

use anyhow::{ensure, Context as _, Result};
use ioregion_wire::uapi::KvmIoregionRule;
use rawguest::{Asm, Machine, Memory, Vcpu, Width};
use rustix::fs::{fallocate, FallocateFlags};
use rustix::process::{setrlimit, Resource, Rlimit};
use rustix::thread::{capabilities, set_capabilities, CapabilitySet};

use super::pattern_at;
use crate::cases::access;
use crate::channel::{self, DeviceEnd, Transport};
use crate::check::{check_eq, expect_errno};
use crate::region;
use crate::rules::{self, plain, w1c, BOTH};
use crate::script::{values, Bus, Script};
use crate::suite::{tests, Context};

tests!(
    "rules_memory",
    Ioregion,
    [
        unmapped_by_the_vmm,
        closed_by_everybody,
        truncated_by_the_device,
        hole_punched_by_the_device,
        private_memory,
        shared_by_two_regions,
        pinned_no_longer_than_needed,
        limited_like_locked_memory,
    ]
);

const SIZE: u64 = 0x3000;
const PLAIN: u32 = 0x1040;
const STATUS: u32 = 0x2060;
const ACK: u32 = 0x2064;

fn all_rules() -> [KvmIoregionRule; 3] {
    [
        plain(Width::Long, PLAIN, BOTH),
        plain(Width::Long, STATUS, BOTH),
        w1c(Width::Long, ACK, STATUS),
    ]
}

/// Reads both registers, stores to one, clears bits of the other, reads both again.
fn program() -> Asm {
    Script::new(Bus::Mmio)
        .read(Width::Long, PLAIN)
        .read(Width::Long, STATUS)
        .write(Width::Long, PLAIN, 0x0102_0304)
        .write(Width::Long, STATUS, 0xffff_ffff)
        .write(Width::Long, ACK, 0x00ff_00ff)
        .read(Width::Long, PLAIN)
        .read(Width::Long, STATUS)
        .end()
}

/// What the last two reads yield, whatever memory it is.
const AFTER: [u64; 2] = [0x0102_0304, 0xff00_ff00];

struct Fixture {
    machine: Machine,
    vcpu: Vcpu,
    device: DeviceEnd,
    file: File,
    registers: Memory,
}

fn fixture() -> Result<Fixture> {
    let machine = Machine::new()?;
    let (end, device) = channel::open(Transport::Seqpacket)?;
    let region = region::mmio(region::MMIO, SIZE, &end);
    region::set(machine.fd(), &region)?;
    let registers = Memory::shared(SIZE as usize)?;
    registers.write(0, &super::pattern(SIZE as usize))?;
    rules::set(machine.fd(), &region, Some(&registers), &all_rules()).context("rules")?;
    let file = registers.file().context("no file")?;
    Ok(Fixture {
        vcpu: machine.add_vcpu(&program())?,
        machine,
        device,
        file: file.try_clone().context("dup")?,
        registers,
    })
}

/// Runs the guest without the device; the first reads must yield what was there before.
fn goes_on(machine: &Machine, vcpu: &mut Vcpu, device: &mut DeviceEnd) -> Result<()> {
    let log = access::commands(vcpu, device)?;
    check_eq!(log, [], "commands");
    let before = [pattern_at(PLAIN, 4), pattern_at(STATUS, 4)];
    let values = values(machine, 4)?;
    check_eq!(values[..2], before, "values before");
    check_eq!(values[2..], AFTER, "values after");
    Ok(())
}

/// The device process still has its mapping, and sees what the guest does.
fn unmapped_by_the_vmm(_: &Context) -> Result<()> {
    let mut test = fixture()?;
    let seen_by_device = Memory::of_file(test.file.try_clone()?, SIZE as usize)?;
    drop(test.registers);
    goes_on(&test.machine, &mut test.vcpu, &mut test.device)?;
    let left = [
        seen_by_device.load::<u32>(PLAIN.into())?,
        seen_by_device.load::<u32>(STATUS.into())?,
    ];
    check_eq!(left.map(u64::from), AFTER, "registers that the device sees");
    Ok(())
}

fn closed_by_everybody(_: &Context) -> Result<()> {
    let mut test = fixture()?;
    drop((test.registers, test.file));
    goes_on(&test.machine, &mut test.vcpu, &mut test.device)
}

/// KVM keeps its pages; the file has others from then on.
fn truncated_by_the_device(_: &Context) -> Result<()> {
    let mut test = fixture()?;
    test.file.set_len(0).context("truncate")?;
    test.file.set_len(SIZE).context("extend")?;
    goes_on(&test.machine, &mut test.vcpu, &mut test.device)?;
    check_eq!(
        test.registers.load::<u32>(PLAIN.into())?,
        0,
        "a page that is new to the file"
    );
    Ok(())
}

fn hole_punched_by_the_device(_: &Context) -> Result<()> {
    let mut test = fixture()?;
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&test.file, punch, 0, SIZE).context("punch a hole")?;
    goes_on(&test.machine, &mut test.vcpu, &mut test.device)
}

/// Nobody else can see it, but that is the VMM's business.
fn private_memory(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    let (end, mut device) = channel::open(Transport::Seqpacket)?;
    let region = region::mmio(region::MMIO, SIZE, &end);
    region::set(machine.fd(), &region)?;
    let registers = Memory::private(SIZE as usize)?;
    rules::set(machine.fd(), &region, Some(&registers), &all_rules()).context("rules")?;
    registers.write(0, &super::pattern(SIZE as usize))?;
    let mut vcpu = machine.add_vcpu(&program())?;
    goes_on(&machine, &mut vcpu, &mut device)?;
    check_eq!(
        registers.load::<u32>(PLAIN.into())?,
        AFTER[0] as u32,
        "register that the VMM sees"
    );
    Ok(())
}

fn shared_by_two_regions(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    let (end, mut device) = channel::open_on(machine.fd(), Transport::Ring)?;
    let registers = super::registers(0x1000)?;
    for at in [region::MMIO, region::MMIO + 0x1000] {
        let region = region::mmio(at, 0x1000, &end);
        region::set(machine.fd(), &region)?;
        let rules = [plain(Width::Quad, 0x40, BOTH)];
        rules::set(machine.fd(), &region, Some(&registers), &rules)?;
    }
    let program = Script::new(Bus::Mmio)
        .write(Width::Quad, 0x40, access::VALUE)
        .read(Width::Quad, 0x1040)
        .end();
    let mut vcpu = machine.add_vcpu(&program)?;
    let log = access::commands(&mut vcpu, &mut device)?;
    check_eq!(log, [], "commands");
    check_eq!(values(&machine, 1)?, [access::VALUE], "value");
    Ok(())
}

/// KiB that this process has pinned or locked.
fn pinned() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let words = line.with_context(|| format!("no {name} in /proc/self/status"))?;
        let number = words.split_whitespace().next().context("no number")?;
        Ok(number.parse()?)
    };
    Ok(field("VmPin:")? + field("VmLck:")?)
}

/// What the process has pinned shows it: whatever ends the rules ends the pinning.
fn pinned_no_longer_than_needed(_: &Context) -> Result<()> {
    let before = pinned()?;
    let machine = Machine::new()?;
    let (end, _device) = channel::open(Transport::Seqpacket)?;
    let region = region::mmio(region::MMIO, SIZE, &end);
    region::set(machine.fd(), &region)?;
    let registers = Memory::shared(SIZE as usize)?;
    let give = |rules: &[KvmIoregionRule]| {
        let registers = (!rules.is_empty()).then_some(&registers);
        rules::set(machine.fd(), &region, registers, rules)
    };
    give(&all_rules())?;
    let with_rules = pinned()?;
    ensure!(
        with_rules >= before + SIZE / 1024,
        "{with_rules} KiB pinned"
    );
    for _ in 0..100 {
        give(&all_rules())?;
        let bad = plain(Width::Long, SIZE as u32, BOTH);
        expect_errno(give(&[all_rules()[0], bad]), libc::EINVAL, "bad rule")?;
    }
    check_eq!(pinned()?, with_rules, "KiB pinned after replacing rules");
    give(&[])?;
    check_eq!(pinned()?, before, "KiB pinned without rules");
    give(&all_rules())?;
    region::deassign(machine.fd(), &region)?;
    check_eq!(pinned()?, before, "KiB pinned without the region");
    region::set(machine.fd(), &region)?;
    give(&all_rules())?;
    drop(machine);
    check_eq!(pinned()?, before, "KiB pinned without the VM");
    Ok(())
}

/// A VMM without privileges pins no more than `RLIMIT_MEMLOCK` says, and keeps the rules that it
/// has when it tries.
fn limited_like_locked_memory(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    let (end, mut device) = channel::open(Transport::Seqpacket)?;
    let region = region::mmio(region::MMIO, SIZE, &end);
    region::set(machine.fd(), &region)?;
    let registers = Memory::shared(SIZE as usize)?;
    registers.write(0, &super::pattern(SIZE as usize))?;
    let give = || rules::set(machine.fd(), &region, Some(&registers), &all_rules());
    let mut sets = capabilities(None).context("capget")?;
    sets.effective.remove(CapabilitySet::IPC_LOCK);
    set_capabilities(None, sets).context("capset")?;
    limit_locked_memory(SIZE - 1)?;
    expect_errno(give(), libc::ENOMEM, "a byte too many")?;
    limit_locked_memory(2 * SIZE)?;
    give().context("as much as is allowed")?;
    give().context("the same again, before the first is let go")?;
    limit_locked_memory(0)?;
    expect_errno(give(), libc::ENOMEM, "nothing allowed any more")?;
    let mut vcpu = machine.add_vcpu(&program())?;
    goes_on(&machine, &mut vcpu, &mut device)
}

fn limit_locked_memory(bytes: u64) -> Result<()> {
    let limit = Rlimit {
        current: Some(bytes),
        maximum: Some(u64::MAX >> 1),
    };
    setrlimit(Resource::Memlock, limit).context("setrlimit")
}

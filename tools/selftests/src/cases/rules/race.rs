// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Rules while others work on the same registers, and on the rules themselves.

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;

use anyhow::{ensure, Context as _, Result};
use ioregion_wire::uapi::{KvmIoregionRule, KVM_IOREGION_RULE_READ};
use rawguest::{Asm, Machine, Mem, Memory, Reg, Vcpu, Width};
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

use super::{CARRIERS, SIZE};
use crate::channel;
use crate::check::check_eq;
use crate::guest::{counting_writes, expect_halt, MMIO_WIDTHS};
use crate::random::Random;
use crate::region::{self, MMIO};
use crate::rules::{self, doorbell, plain, w1c};
use crate::stage::{or_die, with_device};
use crate::suite::{tests, Context};

tests!(
    "rules_race",
    Ioregion,
    [
        device_counts_beside_the_acknowledged_bits,
        device_sets_bits_while_the_guest_acknowledges,
        the_same_with_a_shadow_page,
        two_vcpus_acknowledge_neighbours,
        rings_while_rules_are_replaced,
        reads_while_registers_are_replaced,
    ]
);

/// 8 bytes, at least one of which the guest acknowledges.
const STATUS: u32 = 0x60;
const ACK: u32 = 0x70;
/// Where each vCPU notes what it read.
const NOTES: [u64; 2] = [0x1_0000, 0x10_0000];
const TURNS: u32 = 4_000;

/// Over and over: read what is set, note it, acknowledge it.
fn acknowledger(width: Width, status: u32, ack: u32, notes: u64) -> Asm {
    let mut program = Asm::long();
    program
        .mov(Reg::Bx, MMIO + u64::from(status))
        .mov(Reg::Si, MMIO + u64::from(ack))
        .mov(Reg::Di, notes)
        .repeat(TURNS, |body| {
            body.zero(Reg::Ax)
                .load(width, Reg::Ax, Mem::At(Reg::Bx))
                .store(width, Mem::At(Reg::Si), Reg::Ax)
                .store(Width::Quad, Mem::At(Reg::Di), Reg::Ax)
                .add_imm(Reg::Di, 8);
        })
        .halt();
    program
}

/// How many bits the guest saw set, and so cleared.
fn acknowledged(machine: &Machine, notes: u64) -> Result<u64> {
    let turn = |n: u32| {
        let noted: u64 = machine.ram().load(notes + 8 * u64::from(n))?;
        Ok(u64::from(noted.count_ones()))
    };
    (0..TURNS).map(turn).sum()
}

/// Sets bits of `mask` until told to stop. Returns how many were not set before.
fn set_bits(registers: &Memory, mask: u64, seed: u64, stop: &AtomicBool) -> Result<u64> {
    let mut random = Random::new(seed);
    let mut set = 0;
    while !stop.load(Ordering::SeqCst) {
        let bit = 1 << (random.next() % 64);
        if bit & mask != 0 {
            let old = registers.set_bits(STATUS.into(), bit)?;
            set += u64::from(old & bit == 0);
        }
    }
    Ok(set)
}

/// Counts in the bytes around the 8, which nobody else may change.
fn count_beside(registers: &Memory, stop: &AtomicBool) -> Result<()> {
    let mut count = 0u8;
    while !stop.load(Ordering::SeqCst) {
        for at in [STATUS - 1, STATUS + 8] {
            registers.store(at.into(), count)?;
        }
        thread::yield_now();
        for at in [STATUS - 1, STATUS + 8] {
            check_eq!(registers.load::<u8>(at.into())?, count, "byte {at:#x}");
        }
        count = count.wrapping_add(1);
    }
    Ok(())
}

/// A machine whose region takes these rules with registers of zeros.
fn machine(rules: &[KvmIoregionRule]) -> Result<(Machine, Arc<Memory>)> {
    let machine = Machine::new()?;
    let (end, _device) = channel::open(channel::Transport::Seqpacket)?;
    let region = region::mmio(MMIO, SIZE, &end);
    region::set(machine.fd(), &region)?;
    let registers = Arc::new(Memory::shared(0x1000)?);
    rules::set(machine.fd(), &region, Some(&registers), rules)?;
    Ok((machine, registers))
}

/// Runs each vCPU to its end in a thread of its own.
fn run_all(vcpus: &mut [Vcpu]) -> Result<()> {
    thread::scope(|scope| {
        let threads: Vec<_> = vcpus
            .iter_mut()
            .map(|vcpu| scope.spawn(|| expect_halt(&vcpu.run()?)))
            .collect();
        for thread in threads {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("a vCPU's thread panicked"))??;
        }
        Ok(())
    })
}

/// Runs the vCPUs while a device sets bits of `mask`. Every bit that became set has been seen
/// by the guest, or is still set: none was lost, none came back.
fn check(machine: &Machine, registers: &Memory, mask: u64, vcpus: &mut [Vcpu]) -> Result<()> {
    let stop = &AtomicBool::new(false);
    let set = thread::scope(|scope| {
        let setter = scope.spawn(|| or_die(set_bits(registers, mask, 7, stop)));
        scope.spawn(|| or_die(count_beside(registers, stop)));
        let result = run_all(vcpus);
        stop.store(true, Ordering::SeqCst);
        let set = setter.join();
        result?;
        set.map_err(|_| anyhow::anyhow!("the device panicked"))
    })?;
    let left = registers.load::<u64>(STATUS.into())?;
    ensure!(left & !mask == 0, "bits that nobody set: {left:#x}");
    let mut seen = u64::from(left.count_ones());
    for notes in &NOTES[..vcpus.len()] {
        seen += acknowledged(machine, *notes)?;
    }
    check_eq!(seen, set, "bits seen, of those set");
    ensure!(set > 100, "the device has set {set} bits only");
    Ok(())
}

/// The guest acknowledges 8 bits over and over, by each width; the device counts in the others of
/// the same 8 bytes, so that hardly an acknowledge comes without a count in its middle.
fn device_counts_beside_the_acknowledged_bits(_: &Context) -> Result<()> {
    for width in MMIO_WIDTHS {
        let (machine, registers) = machine(&[w1c(width, ACK, STATUS)])?;
        let mut program = Asm::long();
        program
            .mov(Reg::Ax, 0xff)
            .mov(Reg::Bx, MMIO + u64::from(ACK))
            .repeat(5 * TURNS, |body| {
                body.store(width, Mem::At(Reg::Bx), Reg::Ax);
            })
            .halt();
        let mut vcpus = [machine.add_vcpu(&program)?];
        let stop = &AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| or_die(count_in_the_others(&registers, stop)));
            let result = run_all(&mut vcpus);
            stop.store(true, Ordering::SeqCst);
            result
        })
        .with_context(|| format!("{width:?}"))?;
    }
    Ok(())
}

fn count_in_the_others(registers: &Memory, stop: &AtomicBool) -> Result<()> {
    for count in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let old = registers.add(STATUS.into(), 1 << 8)?;
        check_eq!(old >> 8, count, "count in the bits beside");
    }
    Ok(())
}

fn device_sets_bits_while_the_guest_acknowledges(_: &Context) -> Result<()> {
    for width in MMIO_WIDTHS {
        let at = STATUS + 8 - width.bytes() as u32;
        let rules = [
            plain(width, at, KVM_IOREGION_RULE_READ),
            w1c(width, ACK, at),
        ];
        let (machine, registers) = machine(&rules)?;
        let vcpu = machine.add_vcpu(&acknowledger(width, at, ACK, NOTES[0]))?;
        let mask = width.mask(u64::MAX) << (8 * (at - STATUS));
        check(&machine, &registers, mask, &mut [vcpu]).with_context(|| format!("{width:?}"))?;
    }
    Ok(())
}

/// The guest reads the page itself.
fn the_same_with_a_shadow_page(_: &Context) -> Result<()> {
    let (machine, registers) = machine(&[w1c(Width::Long, ACK, STATUS)])?;
    machine.show_read_only(1, MMIO, &registers)?;
    let program = acknowledger(Width::Long, STATUS, ACK, NOTES[0]);
    let vcpu = machine.add_vcpu(&program)?;
    check(&machine, &registers, u32::MAX.into(), &mut [vcpu])
}

/// Two halves of the same 4 bytes.
fn two_vcpus_acknowledge_neighbours(_: &Context) -> Result<()> {
    let rule = |half: u32| {
        let at = STATUS + 2 * half;
        let read = plain(Width::Word, at, KVM_IOREGION_RULE_READ);
        [read, w1c(Width::Word, ACK + 2 * half, at)]
    };
    let (machine, registers) = machine(&[rule(0), rule(1)].concat())?;
    let vcpu = |half: u32| {
        let (status, ack) = (STATUS + 2 * half, ACK + 2 * half);
        let notes = NOTES[half as usize];
        machine.add_vcpu(&acknowledger(Width::Word, status, ack, notes))
    };
    let mut vcpus = [vcpu(0)?, vcpu(1)?];
    check(&machine, &registers, u32::MAX.into(), &mut vcpus)
}

/// Two vCPUs ring; each ring is one eventfd's, the other's, or the device's, whichever rules
/// were there.
fn rings_while_rules_are_replaced(_: &Context) -> Result<()> {
    const NOTIFY: u32 = 0x50;
    for transport in CARRIERS {
        let machine = Machine::new()?;
        let (end, mut device) = channel::open_on(machine.fd(), transport)?;
        let region = region::posted(region::mmio(MMIO, SIZE, &end));
        region::set(machine.fd(), &region)?;
        let events = [EventFd::new(EFD_NONBLOCK)?, EventFd::new(EFD_NONBLOCK)?];
        let bells = events
            .each_ref()
            .map(|event| doorbell(Width::Long, NOTIFY, event.as_raw_fd()));
        let program = counting_writes(Width::Long, MMIO + u64::from(NOTIFY), TURNS);
        let mut vcpus = [machine.add_vcpu(&program)?, machine.add_vcpu(&program)?];
        let vm = machine.fd().clone();
        let stop = &AtomicBool::new(false);
        let work = || {
            thread::scope(|scope| {
                scope.spawn(move || {
                    while !stop.load(Ordering::SeqCst) {
                        for rules in [&bells[..1], &[], &bells[1..], &[]] {
                            or_die(rules::set(&vm, &region, None, rules).context("rules"));
                        }
                    }
                });
                let result = run_all(&mut vcpus);
                stop.store(true, Ordering::SeqCst);
                result
            })
        };
        let ((), log) = with_device(&mut device, |_| Ok(0), work)?;
        let rings = events.each_ref().map(|event| event.read().unwrap_or(0));
        let all = rings[0] + rings[1] + log.len() as u64;
        check_eq!(all, u64::from(2 * TURNS), "rings of {transport:?}");
    }
    Ok(())
}

/// Each read yields the register of the one memory or of the other, or the device's answer.
fn reads_while_registers_are_replaced(_: &Context) -> Result<()> {
    let both = [Memory::shared(0x1000)?, Memory::shared(0x1000)?];
    for (registers, value) in both.iter().zip([1u64, 2]) {
        registers.store(STATUS.into(), value * 0x0101_0101_0101_0101)?;
    }
    let machine = Machine::new()?;
    let (end, mut device) = channel::open(channel::Transport::Seqpacket)?;
    let region = region::mmio(MMIO, SIZE, &end);
    region::set(machine.fd(), &region)?;
    // What it acknowledges is 0x0303.. of the device alone, or a plain register's.
    let program = acknowledger(Width::Quad, STATUS, ACK, NOTES[0]);
    let mut vcpus = [machine.add_vcpu(&program)?];
    let vm = machine.fd().clone();
    let stop = &AtomicBool::new(false);
    let work = || {
        thread::scope(|scope| {
            scope.spawn(move || {
                let rules = [plain(Width::Quad, STATUS, KVM_IOREGION_RULE_READ)];
                while !stop.load(Ordering::SeqCst) {
                    for (registers, count) in [(&both[0], 1), (&both[1], 1), (&both[0], 0)] {
                        let rules = &rules[..count];
                        let registers = (count > 0).then_some(registers);
                        or_die(rules::set(&vm, &region, registers, rules).context("rules"));
                    }
                }
            });
            let result = run_all(&mut vcpus);
            stop.store(true, Ordering::SeqCst);
            result
        })
    };
    with_device(&mut device, |_| Ok(0x0303_0303_0303_0303), work)?;
    for turn in 0..TURNS {
        let value: u64 = machine.ram().load(NOTES[0] + 8 * u64::from(turn))?;
        let byte = value & 0xff;
        ensure!(
            (1..=3).contains(&byte) && value == byte * 0x0101_0101_0101_0101,
            "read {turn} yields {value:#x}"
        );
    }
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `KVM_SET_IOREGION_RULES`: accesses that are complete without the device.

pub(super) mod api;
pub(super) mod argument;
pub(super) mod change;
pub(super) mod doorbell;
pub(super) mod memory;
pub(super) mod pieces;
pub(super) mod plain;
pub(super) mod race;
pub(super) mod shadow;
pub(super) mod w1c;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use ioregion_wire::frame::Command;
use ioregion_wire::uapi::{KvmIoregion, KvmIoregionRule, KVM_IOREGION_RULE_DOORBELL};
use rawguest::{Asm, Machine, Memory, Vcpu};

use super::access;
use crate::channel::{self, DeviceEnd, Transport};
use crate::check::check_eq;
use crate::region;
use crate::rules;
use crate::script::Bus;

/// One transport of each kind: rules are about what comes before it.
const CARRIERS: [Transport; 2] = [Transport::Seqpacket, Transport::Ring];

/// Bytes of the region in most tests.
const SIZE: u64 = 0x100;

/// A region with rules, a device behind it, and a vCPU.
struct Fixture {
    machine: Machine,
    region: KvmIoregion,
    registers: Arc<Memory>,
    device: DeviceEnd,
    vcpu: Vcpu,
}

/// Registers of `size` bytes, no two neighbours of which are alike, and none 0.
fn registers(size: u64) -> Result<Arc<Memory>> {
    let registers = Memory::shared(size.next_multiple_of(4096) as usize)?;
    registers.write(0, &pattern(registers.size()))?;
    Ok(Arc::new(registers))
}

/// What [`registers`] hold at first.
fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8 + 1).collect()
}

/// The value of so many bytes of the pattern.
fn pattern_at(offset: u32, bytes: usize) -> u64 {
    let from = offset as usize;
    let mut value = [0; 8];
    value[..bytes].copy_from_slice(&pattern(from + bytes)[from..]);
    u64::from_le_bytes(value)
}

/// Whether one of them loads or stores a register.
fn need_registers(rules: &[KvmIoregionRule]) -> bool {
    let needs = |rule: &KvmIoregionRule| rule.kind != KVM_IOREGION_RULE_DOORBELL;
    rules.iter().any(needs)
}

/// A region of `size` bytes with these rules, and a vCPU with this program.
fn fixture(
    transport: Transport,
    bus: Bus,
    size: u64,
    rules: &[KvmIoregionRule],
    program: &Asm,
) -> Result<Fixture> {
    let machine = Machine::new()?;
    let (end, device) = channel::open_on(machine.fd(), transport)?;
    let region = bus.region(size, &end);
    region::set(machine.fd(), &region).context("KVM_SET_IOREGION")?;
    let registers = registers(size)?;
    let test = Fixture {
        vcpu: machine.add_vcpu(program)?,
        machine,
        region,
        registers,
        device,
    };
    test.set(rules)?;
    Ok(test)
}

impl Fixture {
    /// Gives the region these rules.
    fn set(&self, rules: &[KvmIoregionRule]) -> Result<()> {
        let registers = need_registers(rules).then_some(&*self.registers);
        rules::set(self.machine.fd(), &self.region, registers, rules)
            .context("KVM_SET_IOREGION_RULES")
    }

    /// Runs the guest to its end while the device answers with [`access::VALUE`]; what came to
    /// the device must be this.
    fn expect_commands(&mut self, want: &[Command], what: &str) -> Result<()> {
        let log = access::commands(&mut self.vcpu, &mut self.device)?;
        check_eq!(log, want, "commands, {what}");
        Ok(())
    }

    /// The registers must hold the pattern, but for these bytes at these offsets.
    fn expect_registers(&self, changed: &[(u32, &[u8])], what: &str) -> Result<()> {
        let mut want = pattern(self.registers.size());
        for (offset, bytes) in changed {
            let at = *offset as usize;
            want[at..at + bytes.len()].copy_from_slice(bytes);
        }
        let got = self.registers.read(0, want.len())?;
        for (at, (got, want)) in got.iter().zip(&want).enumerate() {
            check_eq!(got, want, "byte {at:#x} of the registers, {what}");
        }
        Ok(())
    }
}

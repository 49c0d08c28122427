// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A region whose accesses need no device: rules, and a read-only memory slot over it.
//!
//! Nobody is behind its channel, so an access that no rule takes fails and ends the measurement.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use anyhow::{ensure, Context, Result};
use ioregion_wire::uapi::{
    KvmIoregionRule, KvmIoregionRules, KVM_IOREGION_RULE_DOORBELL, KVM_IOREGION_RULE_PLAIN,
    KVM_IOREGION_RULE_READ, KVM_IOREGION_RULE_W1C, KVM_IOREGION_RULE_WRITE, KVM_SET_IOREGION_RULES,
};
use kvm_ioctls::VmFd;
use rawguest::{Machine, Memory, Reg, Vcpu};
use shunt::channel::{self, Transport};
use shunt::ioregion::{set_region, Region};
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::ioctl::ioctl_with_ref;

use crate::guest::Operation;

/// What KVM does with the access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// There is none: nothing but the memory slot can serve an access.
    None,
    /// The register is memory.
    Plain,
    /// A write clears bits of the register.
    W1c,
    /// A write signals an eventfd that nobody waits on.
    Doorbell,
}

/// Number of the memory slot; the guest's RAM has 0.
const MEMORY_SLOT: u32 = 1;
const PAGE: u64 = 0x1000;
/// What the register holds at first.
const INITIAL: u32 = 0xffff_0000;
/// What the guest writes.
const WRITTEN: u32 = 0x00f0_00f0;

/// The region, as large as its registers' page.
pub(crate) struct Ruled {
    rule: Rule,
    operation: Operation,
    registers: Arc<Memory>,
    eventfd: EventFd,
}

impl Ruled {
    /// Gives the VM the region and its rule, at the region's first 4 bytes; and shows the
    /// registers to the guest, if they are to be `shadowed`.
    pub(crate) fn new(
        machine: &Machine,
        region: Region,
        rule: Rule,
        operation: Operation,
        shadowed: bool,
    ) -> Result<Self> {
        let region = Region {
            size: PAGE,
            ..region
        };
        let (kvm_end, _) = channel::pair(Transport::Seqpacket).context("channel")?;
        set_region(machine.fd(), &region, &kvm_end).context("KVM_SET_IOREGION")?;
        let registers = Arc::new(Memory::shared(PAGE as usize)?);
        registers.store(0, INITIAL)?;
        let ruled = Self {
            rule,
            operation,
            registers,
            eventfd: EventFd::new(0).context("eventfd")?,
        };
        ruled
            .set(machine.fd(), &region)
            .context("KVM_SET_IOREGION_RULES")?;
        if shadowed {
            machine.show_read_only(MEMORY_SLOT, region.address, &ruled.registers)?;
        }
        Ok(ruled)
    }

    fn set(&self, vm: &VmFd, region: &Region) -> io::Result<()> {
        let (kind, fd) = match self.rule {
            Rule::None => return Ok(()),
            Rule::Plain => (KVM_IOREGION_RULE_PLAIN, -1),
            Rule::W1c => (KVM_IOREGION_RULE_W1C, -1),
            Rule::Doorbell => (KVM_IOREGION_RULE_DOORBELL, self.eventfd.as_raw_fd()),
        };
        let flags = match self.operation {
            Operation::Read | Operation::PortRead => KVM_IOREGION_RULE_READ,
            Operation::Write => KVM_IOREGION_RULE_WRITE,
        };
        let rule = KvmIoregionRule {
            size: size_of::<u32>() as u32,
            kind,
            flags,
            fd,
            ..Default::default()
        };
        let needs_registers = self.rule != Rule::Doorbell;
        let argument = KvmIoregionRules {
            guest_paddr: region.address,
            memory_size: region.size,
            registers: if needs_registers {
                self.registers.host_address()
            } else {
                0
            },
            rules: (&raw const rule) as u64,
            nr_rules: 1,
            ..Default::default()
        };
        // SAFETY: the kernel reads the argument and one rule, both of which live. The registers
        // are shared memory, which nobody takes for unchanging; KVM pins their pages.
        match unsafe { ioctl_with_ref(vm, KVM_SET_IOREGION_RULES.into(), &argument) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Loads what the guest is to write.
    pub(crate) fn prepare(&self, vcpu: &mut Vcpu) -> Result<()> {
        Ok(vcpu.set_reg(Reg::Ax, WRITTEN.into())?)
    }

    /// Checks that so many accesses did what the rule says.
    pub(crate) fn verify(&self, vcpu: &Vcpu, accesses: u64) -> Result<()> {
        let writes = self.operation == Operation::Write && accesses > 0;
        let register = match self.rule {
            Rule::Plain if writes => WRITTEN,
            Rule::W1c if writes => INITIAL & !WRITTEN,
            _ => INITIAL,
        };
        let reads = self.operation == Operation::Read && accesses > 0;
        let read = if reads { INITIAL } else { WRITTEN };
        let rings = if self.rule == Rule::Doorbell {
            accesses
        } else {
            0
        };
        let got = (
            self.registers.load(0)?,
            vcpu.reg(Reg::Ax)?,
            self.rings(rings)?,
        );
        let want = (register, read.into(), rings);
        ensure!(
            got == want,
            "register, what the guest has read, rings: {got:x?}, want {want:x?}"
        );
        Ok(())
    }

    /// How often the eventfd was signalled. One that never rang is not read: that would wait.
    fn rings(&self, wanted: u64) -> Result<u64> {
        match wanted {
            0 => Ok(0),
            _ => self.eventfd.read().context("eventfd"),
        }
    }
}

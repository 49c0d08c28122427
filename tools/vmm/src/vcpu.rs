// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Virtual processors: what they start with. [`thread`] runs them, [`exits`] is their loop.

mod exits;
mod thread;

use std::sync::Arc;

use anyhow::{anyhow, ensure, Context, Result};
use kvm_bindings::{kvm_cpuid_entry2, kvm_msr_entry, kvm_regs, Msrs};
use kvm_ioctls::{VcpuFd, VmFd};

use crate::{boot::segments, bus::Bus, cpuid, layout::ZERO_PAGE, stop::Stop};
pub(crate) use thread::{install_kick_handler, VcpuThread};

const MSR_IA32_MISC_ENABLE: u32 = 0x1a0;
const MISC_ENABLE_FAST_STRING: u64 = 1;
const MSR_MTRR_DEF_TYPE: u32 = 0x2ff;
const MTRR_ENABLE: u64 = 1 << 11;
const MTRR_WRITE_BACK: u64 = 6;
/// Bit 1 of RFLAGS is always set.
const RFLAGS_RESERVED: u64 = 2;

/// What all vCPUs share.
#[derive(Clone)]
pub(crate) struct Shared {
    /// Devices behind ports.
    pub(crate) pio: Arc<Bus>,
    /// Devices behind guest physical addresses.
    pub(crate) mmio: Arc<Bus>,
    /// The switch that ends the machine.
    pub(crate) stop: Arc<Stop>,
}

/// Makes the vCPU with APIC id `id`. All but number 0 wait for INIT and SIPI from it.
///
/// # Errors
///
/// When KVM refuses it or its CPUID table.
pub(crate) fn create(
    vm: &VmFd,
    supported: &[kvm_cpuid_entry2],
    id: u8,
    cpus: u8,
) -> Result<VcpuFd> {
    let vcpu = vm
        .create_vcpu(id.into())
        .with_context(|| format!("KVM refuses vCPU {id}"))?;
    vcpu.set_cpuid2(&cpuid::for_vcpu(supported, id, cpus)?)
        .with_context(|| format!("KVM refuses the CPUID table of vCPU {id}"))?;
    set_msrs(&vcpu).with_context(|| format!("vCPU {id}"))?;
    Ok(vcpu)
}

fn set_msrs(vcpu: &VcpuFd) -> Result<()> {
    let msr = |index, data| kvm_msr_entry {
        index,
        data,
        ..Default::default()
    };
    let wanted = [
        msr(MSR_IA32_MISC_ENABLE, MISC_ENABLE_FAST_STRING),
        msr(MSR_MTRR_DEF_TYPE, MTRR_ENABLE | MTRR_WRITE_BACK),
    ];
    let msrs = Msrs::from_entries(&wanted).map_err(|error| anyhow!("MSR list: {error:?}"))?;
    let set = vcpu.set_msrs(&msrs).context("KVM refuses the MSR list")?;
    ensure!(
        set == wanted.len(),
        "KVM refuses MSR {:#x}",
        wanted[set].index
    );
    Ok(())
}

/// Puts the boot processor at the kernel's 64-bit entry.
///
/// # Errors
///
/// When KVM refuses the registers.
pub(crate) fn start_at(vcpu: &VcpuFd, entry: u64) -> Result<()> {
    let mut sregs = vcpu
        .get_sregs()
        .context("cannot get the boot processor's registers")?;
    segments::enter_long_mode(&mut sregs);
    vcpu.set_sregs(&sregs)
        .context("KVM refuses the boot processor's segments")?;
    let regs = kvm_regs {
        rip: entry,
        rsi: ZERO_PAGE,
        rflags: RFLAGS_RESERVED,
        ..Default::default()
    };
    vcpu.set_regs(&regs)
        .context("KVM refuses the boot processor's registers")
}

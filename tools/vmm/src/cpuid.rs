// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the guest's processors say they are: all that KVM supports, plus the APIC id and the
//! topology (one package, a core for each vCPU), which KVM leaves to the VMM, and less SVM and VMX:
//! this VMM runs no guests of guests, and Linux sets interrupt vectors aside for such.

use anyhow::{Context, Result};
use kvm_bindings::{
    kvm_cpuid_entry2, CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, KVM_MAX_CPUID_ENTRIES,
};
use kvm_ioctls::Kvm;

const FEATURES: u32 = 1;
/// Extended topology enumeration.
const TOPOLOGY: u32 = 0xb;
const TOPOLOGY_V2: u32 = 0x1f;
/// AMD: number of cores and width of the core part of an APIC id, in ECX.
const AMD_CORES: u32 = 0x8000_0008;
/// AMD: extended APIC id, core and node.
const AMD_TOPOLOGY: u32 = 0x8000_001e;

const EBX_LOGICAL_CPUS_SHIFT: u32 = 16;
const EBX_APIC_ID_SHIFT: u32 = 24;
const ECX_HYPERVISOR: u32 = 1 << 31;
const ECX_VMX: u32 = 1 << 5;
/// AMD: features; in ECX, SVM.
const AMD_FEATURES: u32 = 0x8000_0001;
const AMD_ECX_SVM: u32 = 1 << 2;
/// AMD: features of SVM.
const AMD_SVM: u32 = 0x8000_000a;
/// What KVM offers to guests.
const KVM_FEATURES: u32 = 0x4000_0001;
/// The end of an interrupt that was injected needs no exit.
const KVM_EAX_PV_EOI: u32 = 1 << 6;
const LEVEL_THREAD: u32 = 1 << 8;
const LEVEL_CORE: u32 = 2 << 8;

/// The CPUID table that KVM supports on this host.
///
/// # Errors
///
/// When KVM does not tell.
pub(crate) fn supported(kvm: &Kvm) -> Result<Vec<kvm_cpuid_entry2>> {
    let table = kvm
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .context("KVM does not tell which CPUID entries it supports")?;
    Ok(table.as_slice().to_vec())
}

/// Without KVM's paravirtual EOI, which hides from KVM that the guest is done with an interrupt: only
/// then does its next run deliver interrupts directly.
pub(crate) fn with_every_eoi(table: &mut [kvm_cpuid_entry2]) {
    for entry in table {
        if entry.function == KVM_FEATURES {
            entry.eax &= !KVM_EAX_PV_EOI;
        }
    }
}

/// The table of the processor with `apic_id`, one of `cpus`.
///
/// # Errors
///
/// When the table has more entries than KVM takes.
pub(crate) fn for_vcpu(supported: &[kvm_cpuid_entry2], apic_id: u8, cpus: u8) -> Result<CpuId> {
    let mut entries: Vec<_> = supported
        .iter()
        .filter(|entry| !matches!(entry.function, TOPOLOGY | TOPOLOGY_V2 | AMD_SVM))
        .copied()
        .collect();
    for entry in &mut entries {
        describe(entry, apic_id.into(), cpus.into());
    }
    entries.extend(topology(apic_id.into(), cpus.into()));
    CpuId::from_entries(&entries)
        .map_err(|error| anyhow::anyhow!("{} CPUID entries: {error:?}", entries.len()))
}

fn describe(entry: &mut kvm_cpuid_entry2, apic_id: u32, cpus: u32) {
    match entry.function {
        FEATURES => {
            entry.ebx &= 0xffff;
            entry.ebx |= cpus << EBX_LOGICAL_CPUS_SHIFT | apic_id << EBX_APIC_ID_SHIFT;
            entry.ecx |= ECX_HYPERVISOR;
            entry.ecx &= !ECX_VMX;
        }
        AMD_FEATURES => entry.ecx &= !AMD_ECX_SVM,
        AMD_CORES => entry.ecx = id_bits(cpus) << 12 | (cpus - 1),
        AMD_TOPOLOGY => {
            entry.eax = apic_id;
            entry.ebx = apic_id;
            entry.ecx = 0;
        }
        _ => {}
    }
}

/// Bits of an APIC id that tell `cpus` cores apart.
fn id_bits(cpus: u32) -> u32 {
    cpus.next_power_of_two().trailing_zeros()
}

fn topology(apic_id: u32, cpus: u32) -> [kvm_cpuid_entry2; 2] {
    let level = |index, kind, shift, processors| kvm_cpuid_entry2 {
        function: TOPOLOGY,
        index,
        flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
        eax: shift,
        ebx: processors,
        ecx: kind | index,
        edx: apic_id,
        ..Default::default()
    };
    [
        level(0, LEVEL_THREAD, 0, 1),
        level(1, LEVEL_CORE, id_bits(cpus), cpus),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(table: &CpuId, function: u32, index: u32) -> kvm_cpuid_entry2 {
        let mut matching = table
            .as_slice()
            .iter()
            .filter(|entry| (entry.function, entry.index) == (function, index));
        let entry = *matching.next().unwrap();
        assert!(
            matching.next().is_none(),
            "leaf {function:#x} is there twice"
        );
        entry
    }

    #[test]
    fn every_leaf_tells_the_same_apic_id() {
        let leaf = |function| kvm_cpuid_entry2 {
            function,
            ebx: 0xff00_1234,
            ..Default::default()
        };
        let supported = [1, 0xb, 0x1f, 0x8000_0008, 0x8000_001e].map(leaf);
        let table = for_vcpu(&supported, 2, 3).unwrap();
        assert_eq!(find(&table, 1, 0).ebx, 0x0203_1234);
        assert_eq!(find(&table, 0xb, 0).edx, 2);
        let cores = find(&table, 0xb, 1);
        assert_eq!((cores.eax, cores.ebx, cores.edx), (2, 3, 2));
        assert_eq!(find(&table, 0x8000_0008, 0).ecx, 0x2002);
        assert_eq!(find(&table, 0x8000_001e, 0).eax, 2);
    }

    #[test]
    fn there_are_no_guests_of_guests() {
        let leaf = |function| kvm_cpuid_entry2 {
            function,
            eax: !0,
            ecx: !0,
            ..Default::default()
        };
        let supported = [FEATURES, AMD_FEATURES, AMD_SVM].map(leaf);
        let table = for_vcpu(&supported, 0, 1).unwrap();
        assert_eq!(find(&table, FEATURES, 0).ecx, !ECX_VMX);
        assert_eq!(find(&table, AMD_FEATURES, 0).ecx, !AMD_ECX_SVM);
        assert!(table
            .as_slice()
            .iter()
            .all(|entry| entry.function != AMD_SVM));
    }

    #[test]
    fn only_the_paravirtual_eoi_can_be_left_out() {
        let leaf = |function| kvm_cpuid_entry2 {
            function,
            eax: !0,
            ..Default::default()
        };
        let mut table = [FEATURES, KVM_FEATURES].map(leaf);
        with_every_eoi(&mut table);
        assert_eq!(table.map(|entry| entry.eax), [!0, !KVM_EAX_PV_EOI]);
    }

    #[test]
    fn one_processor_needs_no_id_bits() {
        assert_eq!([1, 2, 3, 4, 5].map(id_bits), [0, 1, 2, 2, 3]);
    }
}

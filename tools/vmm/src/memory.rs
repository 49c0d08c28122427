// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the guest reaches without an exit: its RAM, one memfd, so that device processes can map it
//! too; pages of registers, for reading; and registers of assigned devices.

use anyhow::{ensure, Context, Result};
use kvm_bindings::{kvm_userspace_memory_region, KVM_MEM_READONLY};
use kvm_ioctls::{Cap, VmFd};
use shunt::{memory::allocate, shadow::Shadow};
use vm_memory::{
    mmap::MmapRegion, Address, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
};

use crate::layout::{HOLE_END, HOLE_START};

/// The RAM of a guest with `bytes` of it, as (address, size): split around the MMIO hole.
pub(crate) fn ranges(bytes: u64) -> Vec<(u64, u64)> {
    let low = bytes.min(HOLE_START);
    let mut ranges = vec![(0, low)];
    if bytes > low {
        ranges.push((HOLE_END, bytes - low));
    }
    ranges
}

/// Allocates zeroed RAM. Pages are taken from the host when they are touched.
///
/// # Errors
///
/// When the memfd cannot be made, sized or mapped.
pub(crate) fn new(ranges: &[(u64, u64)]) -> Result<GuestMemoryMmap> {
    let ranges: Vec<_> = ranges
        .iter()
        .map(|&(start, size)| (GuestAddress(start), size as usize))
        .collect();
    Ok(allocate(&ranges)?)
}

/// Gives the RAM to the VM, a memory slot for each range.
///
/// # Errors
///
/// When KVM refuses a slot.
pub(crate) fn give_to(vm: &VmFd, memory: &GuestMemoryMmap) -> Result<()> {
    for (slot, region) in memory.iter().enumerate() {
        let slot = kvm_userspace_memory_region {
            slot: slot as u32,
            flags: 0,
            guest_phys_addr: region.start_addr().raw_value(),
            memory_size: region.len(),
            userspace_addr: region.as_ptr() as u64,
        };
        // SAFETY: The range is a live mapping of exactly `memory_size` bytes. The machine, the
        // only caller, joins its vCPUs and drops the VM before it drops the mapping.
        unsafe { vm.set_user_memory_region(slot) }
            .with_context(|| format!("KVM refuses the memory slot {slot:x?}"))?;
    }
    Ok(())
}

/// Lets the guest read `registers` at `address`. Its writes there go on as they did without.
///
/// The caller keeps `registers` until the vCPUs are gone.
///
/// # Errors
///
/// When KVM has no read-only slots, or refuses this one.
pub(crate) fn show_registers(vm: &VmFd, slot: u32, address: u64, registers: &Shadow) -> Result<()> {
    ensure!(
        vm.check_extension(Cap::ReadonlyMem),
        "reads=shadow needs KVM_CAP_READONLY_MEM, which this kernel does not have"
    );
    let slot = kvm_userspace_memory_region {
        slot,
        flags: KVM_MEM_READONLY,
        guest_phys_addr: address,
        memory_size: registers.size() as u64,
        userspace_addr: registers.as_ptr() as u64,
    };
    // SAFETY: The range is a live mapping of exactly `memory_size` bytes, which the guest can only
    // read, and which others access as atomics. The machine joins its vCPUs before it drops the
    // disks, which have the mapping; after that nobody reaches it through the slot.
    unsafe { vm.set_user_memory_region(slot) }
        .with_context(|| format!("KVM refuses the memory slot {slot:x?}"))
}

/// Lets the guest have a part of an assigned device at `address`.
///
/// The caller keeps `registers` until they are hidden or the vCPUs are gone.
///
/// # Errors
///
/// KVM refuses the slot, as when another one is there.
pub(crate) fn show_device(
    vm: &VmFd,
    slot: u32,
    address: u64,
    registers: &MmapRegion,
) -> Result<()> {
    let slot = kvm_userspace_memory_region {
        slot,
        flags: 0,
        guest_phys_addr: address,
        memory_size: registers.size() as u64,
        userspace_addr: registers.as_ptr() as u64,
    };
    // SAFETY: The range is a live mapping of exactly `memory_size` bytes, which nobody but the guest
    // accesses. The machine joins its vCPUs before it drops the devices, which have the mapping.
    unsafe { vm.set_user_memory_region(slot) }
        .with_context(|| format!("KVM refuses the memory slot {slot:x?}"))
}

/// Takes that from the guest.
///
/// # Errors
///
/// There is no such slot.
pub(crate) fn hide_device(vm: &VmFd, slot: u32) -> Result<()> {
    let none = kvm_userspace_memory_region {
        slot,
        ..Default::default()
    };
    // SAFETY: The slot has no memory from now on.
    unsafe { vm.set_user_memory_region(none) }
        .with_context(|| format!("KVM keeps the memory slot {slot}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ram_never_covers_the_hole() {
        for (bytes, want) in [
            (64 << 20, vec![(0, 64 << 20)]),
            (HOLE_START, vec![(0, HOLE_START)]),
            (HOLE_START + 4096, vec![(0, HOLE_START), (HOLE_END, 4096)]),
        ] {
            assert_eq!(ranges(bytes), want, "{bytes:#x}");
        }
    }
}

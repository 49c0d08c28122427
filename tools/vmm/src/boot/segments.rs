// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Segment descriptors and page tables of the boot processor: 64-bit mode, the first GiB mapped
//! one to one, as the 64-bit boot protocol wants (Documentation/arch/x86/boot.rst of Linux).

use anyhow::Result;
use kvm_bindings::{kvm_segment, kvm_sregs};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use crate::layout::{GDT, PAGE_TABLES};

/// Selectors that the boot protocol fixes, `__BOOT_CS` and `__BOOT_DS`.
const BOOT_CS: u16 = 0x10;
const BOOT_DS: u16 = 0x18;
/// Null, unused, then 64-bit code and data, both flat and 4 GiB.
const GDT_ENTRIES: [u64; 4] = [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];

const CR0_PROTECTED: u64 = 1 << 0;
const CR0_EXTENSION_TYPE: u64 = 1 << 4;
const CR0_PAGING: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LONG_ENABLE: u64 = 1 << 8;
const EFER_LONG_ACTIVE: u64 = 1 << 10;

const PAGE: u64 = 0x1000;
const PRESENT_WRITABLE: u64 = 0b11;
const LARGE_PAGE: u64 = 1 << 7;
const LARGE_PAGE_SIZE: u64 = 2 << 20;

/// Writes descriptors and page tables to guest memory.
///
/// # Errors
///
/// When guest memory ends before them.
pub(crate) fn write(memory: &GuestMemoryMmap) -> Result<()> {
    for (index, entry) in (0u64..).zip(GDT_ENTRIES) {
        memory.write_obj(entry, GuestAddress(GDT + 8 * index))?;
    }
    let (pdpt, pd) = (PAGE_TABLES + PAGE, PAGE_TABLES + 2 * PAGE);
    memory.write_obj(pdpt | PRESENT_WRITABLE, GuestAddress(PAGE_TABLES))?;
    memory.write_obj(pd | PRESENT_WRITABLE, GuestAddress(pdpt))?;
    for index in 0..512 {
        let entry = (index * LARGE_PAGE_SIZE) | LARGE_PAGE | PRESENT_WRITABLE;
        memory.write_obj(entry, GuestAddress(pd + 8 * index))?;
    }
    Ok(())
}

/// Sets the system registers to use them.
pub(crate) fn enter_long_mode(sregs: &mut kvm_sregs) {
    sregs.gdt.base = GDT;
    sregs.gdt.limit = (8 * GDT_ENTRIES.len() - 1) as u16;
    sregs.cs = segment(BOOT_CS);
    let data = segment(BOOT_DS);
    sregs.ds = data;
    sregs.es = data;
    sregs.fs = data;
    sregs.gs = data;
    sregs.ss = data;
    sregs.cr0 = CR0_PROTECTED | CR0_EXTENSION_TYPE | CR0_PAGING;
    sregs.cr3 = PAGE_TABLES;
    sregs.cr4 = CR4_PAE;
    sregs.efer = EFER_LONG_ENABLE | EFER_LONG_ACTIVE;
}

/// The segment register that a processor loads from the entry of [`GDT_ENTRIES`].
fn segment(selector: u16) -> kvm_segment {
    let entry = GDT_ENTRIES[usize::from(selector / 8)];
    let bit = |at: u32| ((entry >> at) & 1) as u8;
    kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector,
        type_: (entry >> 40) as u8 & 0xf,
        s: bit(44),
        dpl: 0,
        present: bit(47),
        avl: bit(52),
        l: bit(53),
        db: bit(54),
        g: bit(55),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_64_bit_and_data_is_writable() {
        let code = segment(BOOT_CS);
        assert_eq!((code.type_, code.l, code.db, code.present), (0xb, 1, 0, 1));
        let data = segment(BOOT_DS);
        assert_eq!((data.type_, data.l, data.db, data.present), (3, 0, 1, 1));
    }

    #[test]
    fn tables_map_the_first_gibibyte_one_to_one() {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x10000)]).unwrap();
        write(&memory).unwrap();
        let entry = |at: u64| memory.read_obj::<u64>(GuestAddress(at)).unwrap();
        for address in [0u64, 0x10_0000, 0x100_0000, 0x3fff_ffff] {
            let pdpt = entry(PAGE_TABLES) & !0xfff;
            let pd = entry(pdpt) & !0xfff;
            let large = entry(pd + 8 * (address / LARGE_PAGE_SIZE));
            assert_eq!(large & 0x83, 0x83);
            assert_eq!(large & !0xfff, address & !(LARGE_PAGE_SIZE - 1));
        }
    }
}

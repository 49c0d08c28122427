// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Guest RAM: one memory slot at guest physical address 0.
//!
//! ```text
//! 0x00_0000  real mode's vectors, all to VECTORS_END, where a vCPU halts
//! 0x00_1000  page tables of long mode: 4 GiB mapped one to one in 2 MiB pages
//! 0x00_8000  code, CODE_SIZE for each vCPU, MAX_VCPUS of them
//! 0x00_c000  DATA: free for programs; up to 0xffff also reachable in real mode
//! 0x01_0000  TABLES: segment descriptors, then the gates of interrupt handlers
//! 0x01_2000  HANDLERS: code of handlers, HANDLER_SIZE for each
//! 0x02_0000  STACKS: the first vCPU's ends here, the others' above, STACK_SIZE for each
//! 0x20_0000  RAM_SIZE
//! ```

use crate::{Memory, Result};

/// Bytes of guest RAM.
pub const RAM_SIZE: usize = 0x20_0000;
/// Number of the memory slot that RAM takes.
pub const RAM_SLOT: u32 = 0;
/// Address of the first vCPU's program.
pub const CODE: u64 = 0x8000;
/// Room for each vCPU's program.
pub const CODE_SIZE: usize = 0x1000;
/// Programs that fit between [`CODE`] and [`DATA`].
pub const MAX_VCPUS: usize = ((DATA - CODE) as usize) / CODE_SIZE;
/// First byte that is free for programs.
pub const DATA: u64 = 0xc000;

/// Bytes of code of an interrupt handler.
pub const HANDLER_SIZE: usize = 0x100;

/// Segment descriptors: none, code, data.
pub(crate) const DESCRIPTORS: u64 = 0x1_0000;
/// A gate for each vector.
pub(crate) const GATES: u64 = 0x1_1000;
/// Code of the handlers.
pub(crate) const HANDLERS: u64 = 0x1_2000;
/// End of the first vCPU's stack.
pub(crate) const STACKS: u64 = 0x2_0000;
/// Bytes of a stack.
pub(crate) const STACK_SIZE: u64 = 0x1000;

/// Top level page table; the ones below follow it.
pub(crate) const PAGE_TABLES: u64 = 0x1000;

/// End of real mode's vectors: 256 of 4 bytes.
const VECTORS_END: u64 = 0x400;

const PAGE: u64 = 0x1000;
const PRESENT_WRITABLE: u64 = 0x3;
const LARGE: u64 = 0x80;

/// RAM with the page tables in it.
pub(crate) fn build() -> Result<Memory> {
    let ram = Memory::private(RAM_SIZE)?;
    write_vectors(&ram)?;
    write_page_tables(&ram)?;
    write_descriptors(&ram)?;
    Ok(ram)
}

/// After a triple fault a vCPU is in real mode, and an NMI takes it through this table. Without it, it
/// would go to address 0 and execute whatever it itself then makes of empty memory there.
fn write_vectors(ram: &Memory) -> Result<()> {
    /// `hlt`, and `jmp` back to it.
    const HALT: u64 = 0xfd_ebf4;
    for vector in (0..VECTORS_END).step_by(8) {
        ram.store(vector, VECTORS_END | VECTORS_END << 32)?;
    }
    ram.store(VECTORS_END, HALT)
}

/// What an interrupt and `iretq` load segments from: the same as [`crate::registers`] starts with.
fn write_descriptors(ram: &Memory) -> Result<()> {
    const LONG_CODE: u64 = 0x00af_9b00_0000_ffff;
    const DATA: u64 = 0x00cf_9300_0000_ffff;
    ram.store(DESCRIPTORS + 8, LONG_CODE)?;
    ram.store(DESCRIPTORS + 16, DATA)
}

/// The gate of a vector: to code at `address`, with interrupts off.
pub(crate) fn write_gate(ram: &Memory, vector: u8, address: u64) -> Result<()> {
    const PRESENT_INTERRUPT_GATE: u64 = 0x8e00;
    const CODE_SELECTOR: u64 = 0x8;
    let place = GATES + u64::from(vector) * 16;
    let low = (address & 0xffff) | (CODE_SELECTOR << 16) | (PRESENT_INTERRUPT_GATE << 32);
    ram.store(place, low | (address >> 16 & 0xffff) << 48)?;
    ram.store(place + 8, address >> 32)
}

/// One PML4 entry, four PDPT entries, 2048 large pages.
fn write_page_tables(ram: &Memory) -> Result<()> {
    let pdpt = PAGE_TABLES + PAGE;
    let first_directory = pdpt + PAGE;
    ram.store(PAGE_TABLES, pdpt | PRESENT_WRITABLE)?;
    for gib in 0..4 {
        let directory = first_directory + gib * PAGE;
        ram.store(pdpt + gib * 8, directory | PRESENT_WRITABLE)?;
        for entry in 0..512 {
            let target = (gib << 30) | (entry << 21);
            ram.store(directory + entry * 8, target | PRESENT_WRITABLE | LARGE)?;
        }
    }
    Ok(())
}

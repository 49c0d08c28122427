// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Guest RAM: one memory slot at guest physical address 0.
//!
//! ```text
//! 0x00_1000  page tables of long mode: 4 GiB mapped one to one in 2 MiB pages
//! 0x00_8000  code, CODE_SIZE for each vCPU, MAX_VCPUS of them
//! 0x00_c000  DATA: free for programs; up to 0xffff also reachable in real mode
//! 0x20_0000  RAM_SIZE
//! ```

use std::sync::atomic::Ordering;

use vm_memory::{AtomicAccess, Bytes, MmapRegion, VolatileMemory};

use crate::{Error, Result};

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

/// Top level page table; the ones below follow it.
pub(crate) const PAGE_TABLES: u64 = 0x1000;

const PAGE: u64 = 0x1000;
const PRESENT_WRITABLE: u64 = 0x3;
const LARGE: u64 = 0x80;

/// The guest's RAM as the host sees it. Addresses are guest physical.
#[derive(Debug)]
pub struct Ram(MmapRegion);

impl Ram {
    pub(crate) fn new() -> Result<Self> {
        let region = MmapRegion::new(RAM_SIZE).map_err(|_| Error::last("mmap of guest RAM"))?;
        let ram = Self(region);
        ram.write_page_tables()?;
        Ok(ram)
    }

    /// Where the host has mapped it.
    pub(crate) fn host_address(&self) -> u64 {
        self.0.as_ptr() as u64
    }

    /// Copies `bytes` into the guest.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRam`].
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        self.0
            .as_volatile_slice()
            .write_slice(bytes, address as usize)
            .map_err(|_| Error::OutOfRam {
                address,
                len: bytes.len(),
            })
    }

    /// Copies `len` bytes out of the guest.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRam`].
    pub fn read(&self, address: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.0
            .as_volatile_slice()
            .read_slice(&mut bytes, address as usize)
            .map_err(|_| Error::OutOfRam { address, len })?;
        Ok(bytes)
    }

    /// Stores a value for a running guest to see, after all earlier stores.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRam`], also when the address is not aligned.
    pub fn store<T: AtomicAccess>(&self, address: u64, value: T) -> Result<()> {
        self.0
            .as_volatile_slice()
            .store(value, address as usize, Ordering::SeqCst)
            .map_err(|_| Error::OutOfRam {
                address,
                len: size_of::<T>(),
            })
    }

    /// Loads a value that a running guest may be storing.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRam`], also when the address is not aligned.
    pub fn load<T: AtomicAccess>(&self, address: u64) -> Result<T> {
        self.0
            .as_volatile_slice()
            .load(address as usize, Ordering::SeqCst)
            .map_err(|_| Error::OutOfRam {
                address,
                len: size_of::<T>(),
            })
    }

    /// One PML4 entry, four PDPT entries, 2048 large pages.
    fn write_page_tables(&self) -> Result<()> {
        let pdpt = PAGE_TABLES + PAGE;
        let first_directory = pdpt + PAGE;
        self.store(PAGE_TABLES, pdpt | PRESENT_WRITABLE)?;
        for gib in 0..4 {
            let directory = first_directory + gib * PAGE;
            self.store(pdpt + gib * 8, directory | PRESENT_WRITABLE)?;
            for entry in 0..512 {
                let target = (gib << 30) | (entry << 21);
                self.store(directory + entry * 8, target | PRESENT_WRITABLE | LARGE)?;
            }
        }
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Host memory that a guest can see.

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{memfd_create, MemfdFlags};
use vm_memory::{AtomicAccess, Bytes, FileOffset, MmapRegion, VolatileMemory};

use crate::{Error, Result};

/// A mapping that guest, KVM and other processes may read and write meanwhile.
#[derive(Debug)]
pub struct Memory(MmapRegion);

impl Memory {
    /// Zeros that only this process has.
    ///
    /// # Errors
    ///
    /// [`Error::Call`].
    pub fn private(size: usize) -> Result<Self> {
        let region = MmapRegion::new(size).map_err(|_| Error::last("mmap"))?;
        Ok(Self(region))
    }

    /// Zeros in a file without a name, which a device process could map, too.
    ///
    /// # Errors
    ///
    /// [`Error::Call`].
    pub fn shared(size: usize) -> Result<Self> {
        let file = memfd_create(c"registers", MemfdFlags::CLOEXEC)
            .map(File::from)
            .map_err(|_| Error::last("memfd_create"))?;
        file.set_len(size as u64)
            .map_err(|_| Error::last("ftruncate"))?;
        Self::of_file(file, size)
    }

    /// The first `size` bytes of a file, which has as many.
    ///
    /// # Errors
    ///
    /// [`Error::Call`].
    pub fn of_file(file: File, size: usize) -> Result<Self> {
        let region = MmapRegion::from_file(FileOffset::new(file, 0), size)
            .map_err(|_| Error::last("mmap"))?;
        Ok(Self(region))
    }

    /// `size` bytes of a device's file from `offset` on. Nobody knows how long such a file is.
    ///
    /// # Errors
    ///
    /// [`Error::Call`].
    pub fn of_device(file: File, offset: u64, size: usize) -> Result<Self> {
        let region = MmapRegion::build(
            Some(FileOffset::new(file, offset)),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
        )
        .map_err(|_| Error::last("mmap"))?;
        Ok(Self(region))
    }

    /// The file, if it has one.
    pub fn file(&self) -> Option<&File> {
        self.0.file_offset().map(FileOffset::file)
    }

    /// Where the host has mapped it.
    pub fn host_address(&self) -> u64 {
        self.0.as_ptr() as u64
    }

    /// Bytes.
    pub fn size(&self) -> usize {
        self.0.size()
    }

    /// Copies `bytes` into it.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRam`].
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        self.0
            .as_volatile_slice()
            .write_slice(bytes, address as usize)
            .map_err(|_| Error::out_of_ram(address, bytes.len()))
    }

    /// Copies `len` bytes out of it.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRam`].
    pub fn read(&self, address: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.0
            .as_volatile_slice()
            .read_slice(&mut bytes, address as usize)
            .map_err(|_| Error::out_of_ram(address, len))?;
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
            .map_err(|_| Error::out_of_ram(address, size_of::<T>()))
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
            .map_err(|_| Error::out_of_ram(address, size_of::<T>()))
    }

    /// Sets bits of 8 bytes, and leaves the others to whoever changes them meanwhile. Returns
    /// what was there before.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRam`], also when the address is not aligned.
    pub fn set_bits(&self, address: u64, bits: u64) -> Result<u64> {
        self.0
            .as_volatile_slice()
            .get_atomic_ref::<AtomicU64>(address as usize)
            .map(|word| word.fetch_or(bits, Ordering::SeqCst))
            .map_err(|_| Error::out_of_ram(address, size_of::<u64>()))
    }

    /// Adds to 8 bytes that others may be changing. Returns what was there before.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRam`], also when the address is not aligned.
    pub fn add(&self, address: u64, value: u64) -> Result<u64> {
        self.0
            .as_volatile_slice()
            .get_atomic_ref::<AtomicU64>(address as usize)
            .map(|word| word.fetch_add(value, Ordering::SeqCst))
            .map_err(|_| Error::out_of_ram(address, size_of::<u64>()))
    }
}

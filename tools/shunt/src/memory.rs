// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Guest memory that can be shared: mappings of memfds.

use std::fs::File;
use std::io;
use std::sync::Arc;

use rustix::fs::{fcntl_add_seals, ftruncate, memfd_create, MemfdFlags, SealFlags};
use vm_memory::mmap::FromRangesError;
use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap};

/// Why guest memory could not be made or mapped.
#[derive(Debug)]
pub enum MemoryError {
    /// The memfd could not be made.
    Memfd(io::Error),
    /// The regions overlap, wrap, or cannot be mapped.
    Map(FromRangesError),
    /// A region is not a mapping of a file, so no other process can map it.
    NotShareable {
        /// Its guest physical address.
        guest_addr: u64,
    },
}

impl std::fmt::Display for MemoryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memfd(e) => write!(f, "cannot make a memfd: {e}"),
            Self::Map(e) => write!(f, "cannot map guest memory: {e}"),
            Self::NotShareable { guest_addr } => {
                write!(
                    f,
                    "guest memory at {guest_addr:#x} is not a mapping of a file"
                )
            }
        }
    }
}

impl std::error::Error for MemoryError {}

/// A memfd of `size` bytes that nobody can resize: a process that maps it needs no fear of a
/// `SIGBUS` from another one's `ftruncate`.
pub(crate) fn sealed_memfd(name: &str, size: u64) -> io::Result<File> {
    let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&fd, size)?;
    fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(fd.into())
}

/// Allocates zeroed guest memory: one memfd holds all `ranges`, `(address, bytes)` in ascending
/// order, sizes multiples of the page size.
///
/// # Errors
///
/// [`MemoryError::Memfd`] when there is no memory or descriptor left, [`MemoryError::Map`] for
/// ranges that overlap or wrap.
pub fn allocate(ranges: &[(GuestAddress, usize)]) -> Result<GuestMemoryMmap, MemoryError> {
    let total = ranges.iter().map(|&(_, size)| size as u64).sum();
    let memfd = Arc::new(sealed_memfd("guest-memory", total).map_err(MemoryError::Memfd)?);
    let mut start = 0;
    let placed = ranges.iter().map(|&(address, size)| {
        let offset = FileOffset::from_arc(memfd.clone(), start);
        start += size as u64;
        (address, size, Some(offset))
    });
    GuestMemoryMmap::from_ranges_with_files(placed).map_err(MemoryError::Map)
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Mappings to play with.

use std::io;
use std::os::fd::RawFd;
use std::ptr;

use libc::c_int;

use super::outcome;

/// A mapping that may be anything: only accessed byte by byte, volatile.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: *mut u8,
    size: usize,
}

// SAFETY: a mapping belongs to the process, and each access to it is a volatile byte.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// mmap where the kernel likes.
    pub(crate) fn new(
        fd: RawFd,
        at: u64,
        size: usize,
        protection: c_int,
        flags: c_int,
    ) -> io::Result<Self> {
        let at = at as libc::off_t;
        // SAFETY: a new mapping where the kernel likes disturbs nobody.
        let start = unsafe { libc::mmap(ptr::null_mut(), size, protection, flags, fd, at) };
        match start {
            libc::MAP_FAILED => Err(io::Error::last_os_error()),
            _ => Ok(Self {
                start: start.cast(),
                size,
            }),
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn address(&self) -> u64 {
        self.start as u64
    }

    /// Stores bytes at an offset, as many as are inside. The mapping must be writable.
    pub(crate) fn store(&self, at: usize, bytes: &[u8]) {
        for (index, byte) in bytes.iter().enumerate() {
            if at + index < self.size {
                // SAFETY: the byte is in the mapping.
                unsafe { self.start.add(at + index).write_volatile(*byte) };
            }
        }
    }

    /// Loads 8 bytes at an offset. The mapping must be readable, and the bytes inside.
    pub(crate) fn load(&self, at: usize) -> u64 {
        assert!(at + 8 <= self.size, "{at:#x} in {:#x} bytes", self.size);
        let mut bytes = [0; 8];
        for (index, byte) in bytes.iter_mut().enumerate() {
            // SAFETY: the byte is in the mapping.
            *byte = unsafe { self.start.add(at + index).read_volatile() };
        }
        u64::from_ne_bytes(bytes)
    }

    /// Stores bytes at an offset through the kernel, which refuses what would be a fault.
    pub(crate) fn try_store(&self, at: usize, bytes: &[u8]) -> io::Result<()> {
        let local = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        let remote = libc::iovec {
            iov_base: self.start.wrapping_add(at).cast(),
            iov_len: bytes.len(),
        };
        // SAFETY: the local part is a live slice; the remote one lies in the mapping if the
        // caller's offset does, and holds bytes only.
        let written = unsafe {
            libc::process_vm_writev(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0)
        };
        match written {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    pub(crate) fn protect(&self, protection: c_int) -> io::Result<()> {
        // SAFETY: the mapping is ours, and whoever accesses it gets a fault at worst.
        outcome(unsafe { libc::mprotect(self.start.cast(), self.size, protection) }).map(drop)
    }

    pub(crate) fn advise(&self, advice: c_int) -> io::Result<()> {
        // SAFETY: the mapping is ours, and holds nothing that Rust relies on.
        outcome(unsafe { libc::madvise(self.start.cast(), self.size, advice) }).map(drop)
    }

    /// mremap to another size, which moves it.
    pub(crate) fn resize(&mut self, size: usize) -> io::Result<()> {
        // SAFETY: the mapping is ours, borrowed by nobody else; it stays as it is on failure.
        let start =
            unsafe { libc::mremap(self.start.cast(), self.size, size, libc::MREMAP_MAYMOVE) };
        match start {
            libc::MAP_FAILED => Err(io::Error::last_os_error()),
            _ => {
                (self.start, self.size) = (start.cast(), size);
                Ok(())
            }
        }
    }

    /// Lets the kernel fill it from a file.
    pub(crate) fn read_into(&self, fd: RawFd) -> io::Result<usize> {
        // SAFETY: the kernel checks the mapping's protection, and it holds bytes only.
        let read = unsafe { libc::read(fd, self.start.cast(), self.size) };
        usize::try_from(read).map_err(|_| io::Error::last_os_error())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference into it exists.
        unsafe { libc::munmap(self.start.cast(), self.size) };
    }
}

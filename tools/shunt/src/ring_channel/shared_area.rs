// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! One area of a channel, mapped.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{
    fence, AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};

use ioregion_ring::memory::Memory;

/// Whose area it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The other side's; a store to it is a fault.
    Others,
    /// This side's.
    Own,
}

/// A shared mapping of 64-bit words.
///
/// # Invariants
///
/// `start` is the start of a mapping of `words` words that only [`Drop`] takes away.
#[derive(Debug)]
pub(crate) struct SharedArea {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: A mapping belongs to the process, not to a thread.
unsafe impl Send for SharedArea {}

impl SharedArea {
    /// Maps `size` bytes of `file` from `offset` on.
    ///
    /// # Errors
    ///
    /// Those of `mmap(2)`.
    pub(crate) fn map(
        file: BorrowedFd<'_>,
        offset: u64,
        size: usize,
        side: Side,
    ) -> io::Result<Self> {
        let protection = match side {
            Side::Others => libc::PROT_READ,
            Side::Own => libc::PROT_READ | libc::PROT_WRITE,
        };
        let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
        let (flags, fd) = (libc::MAP_SHARED, file.as_raw_fd());
        // SAFETY: A new mapping where the kernel likes touches no memory in use.
        let start = unsafe { libc::mmap(ptr::null_mut(), size, protection, flags, fd, offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // INVARIANT: The mapping was just made, and whole words fit the size.
        Ok(Self {
            start: NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidData)?,
            words: size / size_of::<AtomicU64>(),
        })
    }

    #[inline]
    fn words(&self) -> &[AtomicU64] {
        // SAFETY: By the type invariant these words are mapped as long as `self`. The other side
        // accesses them too, which atomics allow for.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }

    #[inline]
    fn word(&self, at: usize) -> &AtomicU64 {
        &self.words()[at / size_of::<AtomicU64>()]
    }
}

impl Drop for SharedArea {
    fn drop(&mut self) {
        let size = self.words * size_of::<AtomicU64>();
        // SAFETY: By the type invariant this is a mapping of ours, which nobody borrows any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), size) };
    }
}

impl Memory for SharedArea {
    #[inline]
    fn load(&self, at: usize) -> u64 {
        self.word(at).load(Relaxed)
    }

    #[inline]
    fn load_acquire(&self, at: usize) -> u64 {
        self.word(at).load(Acquire)
    }

    #[inline]
    fn load_words<const N: usize>(&self, at: usize) -> [u64; N] {
        let first = at / size_of::<AtomicU64>();
        let words = &self.words()[first..first + N];
        std::array::from_fn(|index| words[index].load(Relaxed))
    }

    #[inline]
    fn store(&self, at: usize, value: u64) {
        self.word(at).store(value, Relaxed);
    }

    #[inline]
    fn store_release(&self, at: usize, value: u64) {
        self.word(at).store(value, Release);
    }

    #[inline]
    fn full_barrier(&self) {
        fence(SeqCst);
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A request's buffers: a descriptor chain, in memory; or those of a message that needs several.

use std::fs::File;
use std::io;

use virtio_ring::segment::Segment;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap, VolatileSlice};

use crate::vectored;

/// The buffers of one request. Every byte lies in guest memory, and the parts that the device
/// reads come before those that it writes. How the driver cut them into descriptors means
/// nothing (virtio 1.3, section 2.7.4): positions count from the beginning of either part.
#[derive(Debug)]
pub struct Chain<'m> {
    readable: Part<'m>,
    writable: Part<'m>,
    buffers: usize,
}

/// Why a descriptor chain is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadChain {
    /// A buffer lies outside guest memory.
    OutsideMemory {
        /// Guest physical address of the buffer.
        address: u64,
        /// Its bytes.
        length: u32,
    },
    /// A part is shorter than what must be there.
    Short {
        /// Bytes there are.
        length: u64,
        /// Bytes needed.
        needed: u64,
    },
}

impl<'m> Chain<'m> {
    /// Finds the segments of this many chains in memory.
    pub(crate) fn new(
        memory: &'m GuestMemoryMmap,
        readable: &[Segment],
        writable: &[Segment],
        buffers: usize,
    ) -> Result<Self, BadChain> {
        Ok(Self {
            readable: Part::new(memory, readable)?,
            writable: Part::new(memory, writable)?,
            buffers,
        })
    }

    /// How many of the driver's buffers it is.
    pub fn buffers(&self) -> usize {
        self.buffers
    }

    /// The part that the device reads.
    pub fn readable(&self) -> &Part<'m> {
        &self.readable
    }

    /// The part that the device writes.
    pub fn writable(&self) -> &Part<'m> {
        &self.writable
    }
}

/// Guest memory in pieces, addressed as if it were in one.
#[derive(Debug, Default)]
pub struct Part<'m> {
    slices: Vec<VolatileSlice<'m>>,
    length: u64,
}

impl<'m> Part<'m> {
    fn new(memory: &'m GuestMemoryMmap, segments: &[Segment]) -> Result<Self, BadChain> {
        let mut part = Self::default();
        for &Segment { address, length } in segments {
            let start = GuestAddress(address);
            for slice in GuestMemoryBackend::get_slices(memory, start, length as usize) {
                let outside = BadChain::OutsideMemory { address, length };
                part.slices.push(slice.map_err(|_| outside)?);
            }
            part.length += u64::from(length);
        }
        Ok(part)
    }

    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// It has no bytes.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Copies `bytes.len()` bytes from `position` on out of guest memory.
    ///
    /// # Errors
    ///
    /// [`BadChain::Short`] when the part ends before.
    pub fn copy_to(&self, position: u64, bytes: &mut [u8]) -> Result<(), BadChain> {
        let mut rest = bytes;
        for slice in self.range(position, rest.len() as u64)? {
            let (now, later) = rest.split_at_mut(slice.len());
            slice.copy_to(now);
            rest = later;
        }
        Ok(())
    }

    /// Copies `bytes` into guest memory from `position` on.
    ///
    /// # Errors
    ///
    /// [`BadChain::Short`] when the part ends before.
    pub fn copy_from(&self, position: u64, bytes: &[u8]) -> Result<(), BadChain> {
        let mut rest = bytes;
        for slice in self.range(position, rest.len() as u64)? {
            let (now, later) = rest.split_at(slice.len());
            slice.copy_from(now);
            rest = later;
        }
        Ok(())
    }

    /// The pieces of `length` bytes from `position` on.
    ///
    /// # Errors
    ///
    /// [`BadChain::Short`] when the part ends before.
    pub fn range(&self, position: u64, length: u64) -> Result<Vec<VolatileSlice<'m>>, BadChain> {
        let short = BadChain::Short {
            length: self.length,
            needed: position.saturating_add(length),
        };
        let mut skip = position;
        let mut rest = length;
        let mut pieces = Vec::new();
        for slice in &self.slices {
            let begin = skip.min(slice.len() as u64);
            let take = rest.min(slice.len() as u64 - begin);
            if take > 0 {
                let piece = slice.subslice(begin as usize, take as usize);
                pieces.push(piece.map_err(|_| short)?);
            }
            skip -= begin;
            rest -= take;
        }
        match (skip, rest) {
            (0, 0) => Ok(pieces),
            _ => Err(short),
        }
    }
}

/// Fills `pieces` from `file` at `offset`, without a copy in between.
///
/// # Errors
///
/// `UnexpectedEof` when the file ends before; those of `preadv(2)`.
pub fn read_file(file: &File, offset: u64, pieces: &[VolatileSlice<'_>]) -> io::Result<()> {
    vectored::transfer(vectored::Direction::FromFile, file, offset, pieces)
}

/// Writes `pieces` to `file` at `offset`, without a copy in between.
///
/// # Errors
///
/// Those of `pwritev(2)`.
pub fn write_file(file: &File, offset: u64, pieces: &[VolatileSlice<'_>]) -> io::Result<()> {
    vectored::transfer(vectored::Direction::ToFile, file, offset, pieces)
}

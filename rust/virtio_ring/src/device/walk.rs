// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Descriptors of a chain become segments.

use super::{
    Broken,
    Chain,
    Tables, //
};
use crate::segment::Segment;
use virtio_spec::split::{
    DESCRIPTOR,
    INDIRECT,
    NEXT,
    WRITE, //
};

/// A descriptor, read once.
#[derive(Clone, Copy)]
pub(super) struct Descriptor {
    pub(super) segment: Segment,
    pub(super) flags: u16,
    /// `next` of a split ring.
    pub(super) next: u16,
}

impl Descriptor {
    /// That of a split ring, or of a table.
    #[inline(always)]
    pub(super) const fn split([address, rest]: [u64; 2]) -> Self {
        Self {
            segment: Segment {
                address,
                length: rest as u32,
            },
            flags: (rest >> 32) as u16,
            next: (rest >> 48) as u16,
        }
    }

    /// That of a packed ring, or of a table.
    #[inline(always)]
    pub(super) const fn packed([address, rest]: [u64; 2]) -> Self {
        Self {
            segment: Segment {
                address,
                length: rest as u32,
            },
            flags: (rest >> 48) as u16,
            next: 0,
        }
    }

    /// Entries of the table that it refers to, `limit` at most.
    fn entries(&self, limit: u16) -> Result<u16, Broken> {
        let Segment { address, length } = self.segment;
        let entries = length as usize / DESCRIPTOR;
        let is_whole = length as usize % DESCRIPTOR == 0 && entries > 0;
        // Not allowed with it: section 2.7.5.3.1.
        let is_last = self.flags & NEXT == 0;
        match u16::try_from(entries) {
            Ok(entries) if is_whole && is_last && entries <= limit => Ok(entries),
            _ => Err(Broken::Table { address, length }),
        }
    }
}

/// The segments of a chain so far.
pub(super) struct Walk<'s> {
    segments: &'s mut [Segment],
    count: usize,
    readable: usize,
    room: u64,
    bytes: u64,
}

impl<'s> Walk<'s> {
    /// None yet, and `size` or as many as there is room for at most.
    #[inline]
    pub(super) fn new(segments: &'s mut [Segment], size: u16) -> Self {
        let limit = segments.len().min(size.into());
        Self {
            segments: &mut segments[..limit],
            count: 0,
            readable: 0,
            room: 0,
            bytes: 0,
        }
    }

    /// Adds the segment of a descriptor.
    #[inline]
    pub(super) fn push(&mut self, descriptor: &Descriptor) -> Result<(), Broken> {
        let place = self.segments.get_mut(self.count);
        *place.ok_or(Broken::Long(self.count))? = descriptor.segment;
        let length = u64::from(descriptor.segment.length);
        if descriptor.flags & WRITE != 0 {
            self.room = self.room.wrapping_add(length);
        } else if self.readable == self.count {
            self.readable = self.readable.wrapping_add(1);
        } else {
            return Err(Broken::Order);
        }
        self.bytes = self.bytes.wrapping_add(length);
        self.count = self.count.wrapping_add(1);
        Ok(())
    }

    /// Adds the segments in a table of a split ring, whose descriptors are chained.
    pub(super) fn split_table<G: Tables>(
        &mut self,
        tables: &G,
        table: &Descriptor,
        limit: u16,
    ) -> Result<(), Broken> {
        let entries = table.entries(limit)?;
        let mut index = 0;
        loop {
            let entry = Descriptor::split(read(tables, table, index)?);
            self.push_entry(&entry)?;
            if entry.flags & NEXT == 0 {
                return Ok(());
            }
            index = entry.next;
            if index >= entries {
                let size = entries;
                return Err(Broken::Descriptor { index, size });
            }
        }
    }

    /// Adds the segments in a table of a packed ring, whose descriptors follow each other, and of
    /// whose flags only one counts: section 2.8.7.
    pub(super) fn packed_table<G: Tables>(
        &mut self,
        tables: &G,
        table: &Descriptor,
        limit: u16,
    ) -> Result<(), Broken> {
        for index in 0..table.entries(limit)? {
            let entry = Descriptor::packed(read(tables, table, index)?);
            self.push(&entry)?;
        }
        Ok(())
    }

    /// A table in a table is not allowed.
    fn push_entry(&mut self, entry: &Descriptor) -> Result<(), Broken> {
        let Segment { address, length } = entry.segment;
        match entry.flags & INDIRECT {
            0 => self.push(entry),
            _ => Err(Broken::Table { address, length }),
        }
    }

    /// The chain, which has `count` descriptors in the ring.
    #[inline]
    pub(super) fn chain(self, id: u16, count: u16) -> Result<Chain, Broken> {
        match u32::try_from(self.bytes) {
            Err(_) => Err(Broken::Bytes(self.bytes)),
            Ok(_) => Ok(Chain {
                id,
                count,
                readable: self.readable,
                writable: self.count.wrapping_sub(self.readable),
                // No more than all of its bytes.
                room: self.room as u32,
            }),
        }
    }
}

/// An entry of a table.
fn read<G: Tables>(tables: &G, table: &Descriptor, index: u16) -> Result<[u64; 2], Broken> {
    let offset = DESCRIPTOR.wrapping_mul(index.into()) as u64;
    let address = table.segment.address.checked_add(offset);
    let words = address.and_then(|address| tables.descriptor(address));
    words.ok_or(Broken::OutsideMemory(
        table.segment.address.wrapping_add(offset),
    ))
}

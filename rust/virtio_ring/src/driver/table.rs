// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Tables of indirect descriptors: sections 2.7.5.3 and 2.8.7.

use super::{
    Refused,
    Table, //
};
use crate::{
    memory::{
        self,
        Memory, //
    },
    segment::{
        Extent,
        Parts,
        Segment, //
    },
};
use virtio_spec::split::{
    DESCRIPTOR,
    WRITE, //
};

/// Writes the table of a buffer that has no more than `room` segments, each as `words` has it: from
/// the segment, the flags of its descriptor and the number of the next one. What the buffer takes
/// in the ring, and the segment that the table is. `None`: there is no such buffer.
///
/// # Errors
///
/// [`Refused::Table`].
#[inline(always)]
pub(super) fn write<A: Memory>(
    table: Table<'_, A>,
    room: u16,
    parts: &Parts<'_>,
    words: impl Fn(&Segment, u16, u16) -> [u64; 2],
) -> Result<Option<(Extent, Segment)>, Refused> {
    let count = parts.count();
    if count.wrapping_sub(1) >= room.into() {
        return Ok(None);
    }
    let bytes = DESCRIPTOR.wrapping_mul(count);
    memory::check(table.memory, bytes).map_err(Refused::Table)?;
    let (mut next, mut all, mut writable) = (0usize, 0u64, 0u64);
    parts.describe(|segment, flags| {
        let at = DESCRIPTOR.wrapping_mul(next);
        next = next.wrapping_add(1);
        let length = u64::from(segment.length);
        all = all.wrapping_add(length);
        if flags & WRITE != 0 {
            writable = writable.wrapping_add(length);
        }
        table
            .memory
            .store64_pair(at, words(segment, flags, next as u16));
    });
    // Nobody reads a table that no descriptor leads to.
    if all > u32::MAX.into() {
        return Ok(None);
    }
    let extent = Extent {
        count: 1,
        writable: writable as u32,
    };
    let entries = Segment {
        address: table.address,
        length: bytes as u32,
    };
    Ok(Some((extent, entries)))
}

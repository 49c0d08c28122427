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
use virtio_spec::split::DESCRIPTOR;

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
    let Some(count) = parts.count_within(room) else {
        return Ok(None);
    };
    let bytes = DESCRIPTOR.wrapping_mul(count.into());
    memory::check(table.memory, bytes).map_err(Refused::Table)?;
    let mut next = 0usize;
    let lengths = parts.describe(|segment, flags| {
        let at = DESCRIPTOR.wrapping_mul(next);
        next = next.wrapping_add(1);
        table
            .memory
            .store64_pair(at, words(segment, flags, next as u16));
    });
    // Nobody reads a table that no descriptor leads to.
    let Some(extent) = Extent::new(1, lengths) else {
        return Ok(None);
    };
    let entries = Segment {
        address: table.address,
        length: bytes as u32,
    };
    Ok(Some((extent, entries)))
}

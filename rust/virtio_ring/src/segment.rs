// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The pieces of a buffer.

use virtio_spec::split::{
    DESCRIPTOR,
    NEXT,
    WRITE, //
};

/// A piece of memory, as the device addresses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins.
    pub address: u64,
    /// Its bytes.
    pub length: u32,
}

/// How much a buffer is.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    /// Segments.
    pub(crate) count: u16,
    /// Bytes that the device may write.
    pub(crate) writable: u32,
}

impl Extent {
    /// That of a buffer with one segment or more, up to `room`, and a length of 32 bits.
    #[inline(always)]
    pub(crate) fn within(room: u16, readable: &[Segment], writable: &[Segment]) -> Option<Self> {
        let count = readable.len().wrapping_add(writable.len());
        let bytes_writable = bytes(writable);
        let all = bytes(readable).wrapping_add(bytes_writable);
        let fits = count.wrapping_sub(1) < room.into() && all <= u32::MAX.into();
        fits.then_some(Self {
            count: count as u16,
            writable: bytes_writable as u32,
        })
    }

    /// Bytes of a table for it.
    #[inline(always)]
    pub(crate) const fn table(self) -> usize {
        DESCRIPTOR.wrapping_mul(self.count as usize)
    }
}

/// Bytes of all segments.
#[inline(always)]
pub(crate) fn bytes(segments: &[Segment]) -> u64 {
    let lengths = segments.iter().map(|segment| u64::from(segment.length));
    lengths.fold(0, u64::wrapping_add)
}

/// Calls `put` with each segment of a chain and its descriptor's flags.
#[inline(always)]
pub(crate) fn describe(
    readable: &[Segment],
    writable: &[Segment],
    mut put: impl FnMut(&Segment, u16),
) {
    let mut more = readable.len().wrapping_add(writable.len());
    for (segments, write) in [(readable, 0), (writable, WRITE)] {
        for segment in segments {
            more = more.wrapping_sub(1);
            put(segment, write | if more == 0 { 0 } else { NEXT });
        }
    }
}

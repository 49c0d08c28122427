// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The pieces of a buffer.

use virtio_spec::split::{
    NEXT,
    WRITE, //
};

/// A piece of memory, as the device addresses it. The layout is fixed, so that C can fill it in.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins.
    pub address: u64,
    /// Its bytes.
    pub length: u32,
}

/// The pieces of a buffer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts<'a> {
    /// What the device reads: the first ones.
    pub readable: &'a [Segment],
    /// What it writes.
    pub writable: &'a [Segment],
}

impl Parts<'_> {
    /// How many there are.
    #[inline(always)]
    pub(crate) const fn count(&self) -> usize {
        self.readable.len().wrapping_add(self.writable.len())
    }

    /// Bytes of all.
    pub(crate) fn bytes(&self) -> u64 {
        let all = self.readable.iter().chain(self.writable);
        all.map(|segment| u64::from(segment.length)).sum()
    }

    /// The first one with the flags of its descriptor, and the rest.
    #[inline(always)]
    pub(crate) fn split_first(&self) -> Option<(&Segment, u16, Self)> {
        let Self { readable, writable } = *self;
        let (first, write, rest) = match (readable, writable) {
            ([first, readable @ ..], _) => (first, 0, Self { readable, writable }),
            ([], [first, writable @ ..]) => (first, WRITE, Self { readable, writable }),
            ([], []) => return None,
        };
        Some((first, write | next_flag(rest.count()), rest))
    }

    /// Calls `put` with each of them and the flags of its descriptor.
    #[inline(always)]
    pub(crate) fn describe(&self, mut put: impl FnMut(&Segment, u16)) {
        let mut more = self.count();
        let mut put_all = |segments: &[Segment], write: u16| {
            for segment in segments {
                more = more.wrapping_sub(1);
                put(segment, write | next_flag(more));
            }
        };
        put_all(self.readable, 0);
        put_all(self.writable, WRITE);
    }
}

/// The flag of a descriptor that `more` follow.
#[inline(always)]
const fn next_flag(more: usize) -> u16 {
    if more == 0 {
        0
    } else {
        NEXT
    }
}

/// How much a buffer is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// Segments.
    pub(crate) count: u16,
    /// Bytes that the device may write.
    pub(crate) writable: u32,
}

impl Extent {
    /// That of a buffer with one segment or more, up to `room`, and a length of 32 bits.
    #[inline(always)]
    pub(crate) fn within(room: u16, parts: &Parts<'_>) -> Option<Self> {
        let count = parts.count();
        if count.wrapping_sub(1) >= room.into() {
            return None;
        }
        let bytes_writable = add_lengths(0, parts.writable)?;
        add_lengths(bytes_writable, parts.readable)?;
        Some(Self {
            count: count as u16,
            writable: bytes_writable,
        })
    }
}

/// `bytes` and those of all segments, if they fit. A loop that may end early stays a small one.
#[inline(always)]
fn add_lengths(bytes: u32, segments: &[Segment]) -> Option<u32> {
    let mut lengths = segments.iter().map(|segment| segment.length);
    lengths.try_fold(bytes, u32::checked_add)
}

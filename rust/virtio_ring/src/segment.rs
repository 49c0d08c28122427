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

    /// How many there are, if at least one and at most `room`.
    #[inline(always)]
    pub(crate) fn count_within(&self, room: u16) -> Option<u16> {
        let count = self.count();
        (count.wrapping_sub(1) < room.into()).then_some(count as u16)
    }

    /// Bytes of all.
    pub(crate) fn bytes(&self) -> u64 {
        let all = self.readable.iter().chain(self.writable);
        all.map(|segment| u64::from(segment.length)).sum()
    }

    /// Calls `put` with each of them and the flags of its descriptor. Bytes that the device reads,
    /// and bytes that it writes.
    #[inline(always)]
    pub(crate) fn describe(&self, mut put: impl FnMut(&Segment, u16)) -> [u64; 2] {
        let mut more = self.count();
        let readable = put_all(self.readable, 0, &mut more, &mut put);
        [readable, put_all(self.writable, WRITE, &mut more, &mut put)]
    }
}

/// Calls `put` with segments that belong together, and the flags of their descriptors. `more` are
/// to be put from here on. Their bytes.
#[inline(always)]
fn put_all(
    segments: &[Segment],
    write: u16,
    more: &mut usize,
    put: &mut impl FnMut(&Segment, u16),
) -> u64 {
    let mut bytes = 0u64;
    for segment in segments {
        *more = more.wrapping_sub(1);
        bytes = bytes.wrapping_add(segment.length.into());
        put(segment, write | next_flag(*more));
    }
    bytes
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
    /// Descriptors.
    pub(crate) count: u16,
    /// Bytes that the device may write.
    pub(crate) writable: u32,
}

impl Extent {
    /// That of a buffer with so many descriptors in the ring and so many bytes, if those have a
    /// length of 32 bits.
    #[inline(always)]
    pub(crate) fn new(count: u16, [readable, writable]: [u64; 2]) -> Option<Self> {
        let is_one = readable.wrapping_add(writable) <= u32::MAX.into();
        is_one.then_some(Self {
            count,
            writable: writable as u32,
        })
    }
}

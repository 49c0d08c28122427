// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Where a side of a packed virtqueue is: sections 2.8.1 and 2.8.2.

use virtio_spec::{
    packed::{
        AVAIL,
        USED,
        WRAP, //
    },
    split::is_event_due,
};

/// Offset of a descriptor, below the size of the ring, and a wrap counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    offset: u16,
    /// The flags of a descriptor that the driver makes available here: [`AVAIL`] with a wrap
    /// counter of 1, else [`USED`].
    available: u16,
}

impl Position {
    /// Where both sides begin.
    pub(crate) const START: Self = Self {
        offset: 0,
        available: AVAIL,
    };

    /// The one in a ring of this size that `off_wrap` names.
    pub(crate) fn in_ring(off_wrap: u16, size: u16) -> Option<Self> {
        let offset = off_wrap & !WRAP;
        let available = if off_wrap & WRAP == 0 { USED } else { AVAIL };
        (offset < size).then_some(Self { offset, available })
    }

    #[inline(always)]
    pub(crate) const fn offset(self) -> u16 {
        self.offset
    }

    /// As `off_wrap` has it.
    #[inline(always)]
    pub(crate) const fn off_wrap(self) -> u16 {
        self.offset | self.wrap()
    }

    #[inline(always)]
    const fn wrap(self) -> u16 {
        match self.available {
            AVAIL => WRAP,
            _ => 0,
        }
    }

    /// The flags of a descriptor that the driver makes available here.
    #[inline(always)]
    pub(crate) const fn available(self) -> u16 {
        self.available
    }

    /// Whether a descriptor here that has these flags is available.
    #[inline(always)]
    pub(crate) const fn is_available(self, flags: u16) -> bool {
        flags & (AVAIL | USED) == self.available
    }

    /// The flags of a descriptor that the device has used here.
    #[inline(always)]
    pub(crate) const fn used(self) -> u16 {
        match self.available {
            AVAIL => AVAIL | USED,
            _ => 0,
        }
    }

    /// Whether a descriptor here that has these flags has been used.
    #[inline(always)]
    pub(crate) const fn is_used(self, flags: u16) -> bool {
        flags & (AVAIL | USED) == self.used()
    }

    /// The one after it.
    #[inline(always)]
    pub(crate) fn next(self, size: u16) -> Self {
        self.advance(1, size)
    }

    /// The one `count` descriptors further, at most the size of the ring.
    #[inline(always)]
    pub(crate) fn advance(self, count: u16, size: u16) -> Self {
        // Without an overflow: both are at most 2^15.
        let offset = self.offset.wrapping_add(count);
        match offset < size {
            true => Self { offset, ..self },
            false => self.wrapped(offset.wrapping_sub(size)),
        }
    }

    /// In the next round. It is rare; a branch costs less than to have both ready.
    #[cold]
    const fn wrapped(self, offset: u16) -> Self {
        Self {
            offset,
            available: self.available ^ (AVAIL | USED),
        }
    }

    /// Whether the last `count` descriptors before it are past the event that `off_wrap` names.
    #[inline]
    pub(crate) const fn has_passed(self, off_wrap: u16, count: u16, size: u16) -> bool {
        let mut event = off_wrap & !WRAP;
        if off_wrap & WRAP != self.wrap() {
            event = event.wrapping_sub(size);
        }
        is_event_due(event, self.offset, self.offset.wrapping_sub(count))
    }
}

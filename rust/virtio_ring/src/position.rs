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

    /// Where no descriptor can have been used: flags of one cannot be what [`Self::used`] says.
    pub(crate) const NOWHERE: Self = Self {
        offset: 0,
        available: 1,
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
        const { assert!(WRAP == USED) };
        !self.available & WRAP
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
        self.available ^ USED
    }

    /// The flags of a descriptor that is neither available nor used here.
    pub(crate) const fn unused(self) -> u16 {
        self.available ^ AVAIL
    }

    /// Whether a descriptor here that has these flags has been used.
    #[inline(always)]
    pub(crate) const fn is_used(self, flags: u16) -> bool {
        flags & (AVAIL | USED) == self.used()
    }

    /// The one `count` descriptors further, at most the size of the ring.
    #[inline(always)]
    pub(crate) fn after(mut self, count: u16, size: u16) -> Self {
        self.advance(count, size);
        self
    }

    /// Goes `count` descriptors further, at most the size of the ring.
    #[inline(always)]
    pub(crate) fn advance(&mut self, count: u16, size: u16) {
        // Without an overflow: both are at most 2^15.
        self.offset = self.offset.wrapping_add(count);
        if self.offset >= size {
            self.wrap_around(size);
        }
    }

    /// It is rare; a branch costs less than to have both rounds ready.
    #[cold]
    fn wrap_around(&mut self, size: u16) {
        self.offset = self.offset.wrapping_sub(size);
        self.available ^= AVAIL | USED;
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

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the driver keeps to itself, per descriptor.

use super::{
    BadRing,
    Broken,
    Refused, //
};
use crate::segment::Parts;

/// Memory that the caller lends to a ring, one for each descriptor.
#[derive(Debug)]
pub struct Slot<T> {
    /// Present while the device has the buffer with this id.
    pub(super) token: Option<T>,
    /// How often the ring had been published when the buffer was added.
    pub(super) batch: u64,
    /// Bytes of that buffer that the device may write.
    pub(super) writable: u32,
    /// Descriptors of that buffer.
    pub(super) count: u16,
    /// The last of them, in a split ring.
    pub(super) last: u16,
    /// The next of them, or the next that is free.
    pub(super) next: u16,
}

impl<T> Slot<T> {
    /// A slot.
    pub const fn new() -> Self {
        Self {
            token: None,
            batch: 0,
            writable: 0,
            count: 0,
            last: 0,
            next: 0,
        }
    }

    /// Whether the device has the buffer with this id, now that the ring has been published so
    /// often.
    #[inline(always)]
    pub(super) const fn is_out(&self, published: u64) -> bool {
        self.token.is_some() && self.batch < published
    }

    /// The device claims to have used the buffer with this id and to have written so many bytes:
    /// the token, unless that is a [lie](Self::lie).
    #[inline(always)]
    pub(super) fn redeem(&mut self, claimed: u32, published: u64) -> Option<T> {
        match self.is_out(published) && claimed <= self.writable {
            true => self.token.take(),
            false => None,
        }
    }

    /// What is wrong with a claim that was not redeemed. There may be no slot with this id.
    pub(super) fn lie(slot: Option<&Self>, id: u32, claimed: u32, published: u64) -> Broken {
        match slot {
            Some(slot) if slot.is_out(published) => Broken::Length {
                id,
                claimed,
                writable: slot.writable,
            },
            _ => Broken::Id(id),
        }
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes all slots free, each followed by the next one and the last one by the first, and gives
/// up their tokens.
pub(super) fn free_all<T>(slots: &mut [Slot<T>], size: u16, mut lost: impl FnMut(T)) {
    let mut next = 0u16;
    for slot in slots {
        next = next.wrapping_add(1) % size;
        slot.next = next;
        slot.token.take().map(&mut lost);
    }
}

/// # Errors
///
/// [`BadRing::Slots`].
pub(super) fn check_number<T>(slots: &[Slot<T>], needed: u16) -> Result<(), BadRing> {
    let lent = slots.len();
    match lent >= needed.into() {
        true => Ok(()),
        false => Err(BadRing::Slots { needed, lent }),
    }
}

/// Why a buffer cannot be added, that takes as many descriptors as it has segments, or one and a
/// table.
#[cold]
pub(super) fn why_refused(
    parts: &Parts<'_>,
    needs_table: bool,
    (size, free): (u16, u16),
) -> Refused {
    let (count, bytes) = (parts.count(), parts.bytes());
    match u16::try_from(count) {
        _ if bytes > u32::MAX.into() => Refused::Bytes(bytes),
        Ok(count @ 1..) if count <= size => {
            let needed = if needs_table { 1 } else { count };
            Refused::Full { needed, free }
        }
        _ => Refused::Segments(count),
    }
}

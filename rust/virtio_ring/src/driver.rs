// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The driver's side of a virtqueue.
//!
//! ```text
//! add, add, ...   buffers go into the ring; the device does not see them yet
//! publish         it sees them all, and may have to be notified
//! pop, pop, ...   what the device has used comes back, with its token
//! ```
//!
//! A buffer is named by a token, any value of the caller's: the ring keeps it while the device
//! has the buffer, and gives it back exactly once, from [`Ring::pop`] or [`Ring::reset`].
//!
//! Interrupts: [`Ring::disable_interrupts`], pop until there is nothing, then
//! [`Ring::enable_interrupts`]; if that says that something came meanwhile, begin again.

mod packed;
mod slot;
mod split;
mod table;

use crate::{
    memory::{
        Areas,
        Memory,
        Short, //
    },
    segment::{
        Parts,
        Segment, //
    },
};
use core::ops::DerefMut;
use packed::Packed;
use split::Split;
use virtio_spec::{
    features::Features,
    notification::Notification, //
};

pub use crate::settings::{
    BadRing,
    Settings, //
};
pub use slot::Slot;

/// A lie of the device's. The ring takes and gives nothing any more until it is
/// [reset](Ring::reset), which is to follow a reset of the queue or of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The used index runs ahead of what was made available.
    Index {
        /// The used index.
        claimed: u16,
        /// What it can at most be.
        published: u16,
        /// What it was.
        before: u16,
    },
    /// A buffer was used that the device did not have.
    Id(u32),
    /// More was written than the buffer has room for.
    Length {
        /// Names the buffer.
        id: u32,
        /// Bytes that the device claims to have written.
        claimed: u32,
        /// Bytes that it may write.
        writable: u32,
    },
}

/// Why a buffer is not in the ring; what is in the ring is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There will be room when more has been popped.
    Full {
        /// Descriptors needed.
        needed: u16,
        /// Descriptors that are free.
        free: u16,
    },
    /// It has no segments, or more than the queue has descriptors: section 2.7.5.
    Segments(usize),
    /// It has more bytes than fit into 32 bits: section 2.7.5.
    Bytes(u64),
    /// Its table has not room for so many segments.
    Table(Short),
    /// The ring is broken.
    Broken(Broken),
}

/// A buffer that the device has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used<T> {
    /// What it was added with.
    pub token: T,
    /// Bytes that the device says it wrote: no more than there is room for.
    pub length: u32,
}

/// A table for the descriptors of one buffer, which the device does not write: sections 2.7.5.3
/// and 2.8.7. It is in use until the buffer comes back.
#[derive(Clone, Copy, Debug)]
pub struct Table<'t, A> {
    /// Its memory, 16 bytes for each segment.
    pub memory: &'t A,
    /// Where the device finds it.
    pub address: u64,
}

/// A virtqueue, seen from the driver. The caller lets in one thread at a time.
#[derive(Debug)]
pub enum Ring<M, S> {
    /// Without `VIRTIO_F_RING_PACKED`.
    Split(Split<M, S>),
    /// With it.
    Packed(Packed<M, S>),
}

/// Calls the same method of the variant.
macro_rules! either {
    ($ring:expr, $inner:ident => $call:expr) => {
        match $ring {
            Ring::Split($inner) => $call,
            Ring::Packed($inner) => $call,
        }
    };
}

/// Puts what was written into the ring, or gives the token back.
macro_rules! commit {
    ($ring:expr, $written:expr, $token:expr) => {
        match $written {
            Ok(written) => {
                $ring.commit(written, $token);
                Ok(())
            }
            Err(refused) => Err((refused, $token)),
        }
    };
}

impl<T, M: Memory, S: DerefMut<Target = [Slot<T>]>> Ring<M, S> {
    /// An empty ring in `areas`, all of which it overwrites. It needs as many slots as
    /// descriptors, and drops the tokens in them.
    ///
    /// # Errors
    ///
    /// [`BadRing`].
    pub fn new(settings: Settings, areas: Areas<M>, slots: S) -> Result<Self, BadRing> {
        match settings.features.has(Features::RING_PACKED) {
            false => Split::new(settings, areas, slots).map(Self::Split),
            true => Packed::new(settings, areas, slots).map(Self::Packed),
        }
    }

    /// Adds a buffer, a descriptor for each segment. The device does not see it before
    /// [`Self::publish`].
    ///
    /// # Errors
    ///
    /// [`Refused`], and the token.
    // Where the number of segments is known, there is no loop then.
    #[inline(always)]
    pub fn add(
        &mut self,
        readable: &[Segment],
        writable: &[Segment],
        token: T,
    ) -> Result<(), (Refused, T)> {
        let parts = Parts { readable, writable };
        either!(self, ring => {
            let written = ring.write(&parts);
            commit!(ring, written, token)
        })
    }

    /// As [`Self::add`], of segments that are in the token.
    ///
    /// # Errors
    ///
    /// [`Refused`], and the token.
    #[inline]
    pub fn add_with(
        &mut self,
        token: T,
        parts: impl FnOnce(&T) -> Parts<'_>,
    ) -> Result<(), (Refused, T)> {
        either!(self, ring => {
            let written = ring.write(&parts(&token));
            commit!(ring, written, token)
        })
    }

    /// As [`Self::add`], but with one descriptor in the ring and the others in a table. To be
    /// used only if `VIRTIO_F_INDIRECT_DESC` was negotiated.
    ///
    /// # Errors
    ///
    /// [`Refused`], and the token.
    #[inline]
    pub fn add_indirect<A: Memory>(
        &mut self,
        table: Table<'_, A>,
        readable: &[Segment],
        writable: &[Segment],
        token: T,
    ) -> Result<(), (Refused, T)> {
        let parts = Parts { readable, writable };
        either!(self, ring => {
            let written = ring.write_indirect(table, &parts);
            commit!(ring, written, token)
        })
    }

    /// As [`Self::add_indirect`], of segments that are in the token.
    ///
    /// # Errors
    ///
    /// [`Refused`], and the token.
    #[inline]
    pub fn add_indirect_with<A: Memory>(
        &mut self,
        table: Table<'_, A>,
        token: T,
        parts: impl FnOnce(&T) -> Parts<'_>,
    ) -> Result<(), (Refused, T)> {
        either!(self, ring => {
            let written = ring.write_indirect(table, &parts(&token));
            commit!(ring, written, token)
        })
    }

    /// Shows the device all that was added. If it wants to be notified of that, says with what.
    #[inline]
    #[must_use = "the device may wait for the notification"]
    pub fn publish(&mut self) -> Option<Notification> {
        either!(self, ring => ring.publish())
    }

    /// Takes back a buffer that the device has used, if there is one.
    ///
    /// # Errors
    ///
    /// [`Broken`], now and from now on.
    #[inline]
    pub fn pop(&mut self) -> Result<Option<Used<T>>, Broken> {
        either!(self, ring => ring.pop())
    }

    /// Whether [`Self::pop`] has something to say. It looks, but takes nothing.
    #[inline]
    pub fn is_ready(&self) -> bool {
        either!(self, ring => ring.is_ready())
    }

    /// Asks for an interrupt when the device has used the next buffer. True: it has meanwhile, or
    /// the ring is broken, so that the interrupt may not come.
    #[must_use = "an interrupt may not come for what has been used meanwhile"]
    pub fn enable_interrupts(&mut self) -> bool {
        self.enable_interrupts_after(0)
    }

    /// As [`Self::enable_interrupts`], but with `VIRTIO_F_EVENT_IDX` the interrupt may come as late
    /// as when the device has used `buffers` buffers and one more: so many it has to have.
    #[must_use = "an interrupt may not come for what has been used meanwhile"]
    pub fn enable_interrupts_after(&mut self, buffers: u16) -> bool {
        either!(self, ring => ring.enable_interrupts(buffers))
    }

    /// Asks for no interrupts. Some may come nevertheless.
    pub fn disable_interrupts(&mut self) {
        either!(self, ring => ring.disable_interrupts())
    }

    /// Descriptors that are free.
    #[inline]
    pub fn free(&self) -> u16 {
        either!(self, ring => ring.free())
    }

    /// Makes the ring as it was when it was new, for a queue that has been reset, and calls
    /// `lost` with the token of each buffer that it had.
    pub fn reset(&mut self, lost: impl FnMut(T)) {
        either!(self, ring => ring.reset(lost))
    }
}

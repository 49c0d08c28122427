// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The device's side of a virtqueue.
//!
//! ```text
//! pop, pop, ...   buffers that the driver has made available, checked
//! complete, ...   they go back; the driver does not see it yet
//! publish         it sees it, and may want an interrupt
//! ```
//!
//! Notifications: [`Ring::disable_notifications`], pop until there is nothing, then
//! [`Ring::enable_notifications`]; if that says that something came meanwhile, begin again.

mod packed;
mod progress;
mod split;
mod walk;

use crate::{
    memory::{
        Areas,
        Memory, //
    },
    segment::Segment,
};
use packed::Packed;
use split::Split;
use virtio_spec::features::Features;

pub use crate::settings::{
    BadRing,
    Settings, //
};
pub use progress::Progress;

/// Memory of the driver's where it keeps indirect tables.
pub trait Tables {
    /// The descriptor at an address, which need not be aligned: its 16 bytes, read once, as two
    /// little-endian words. `None` if the driver has no such memory.
    fn descriptor(&self, address: u64) -> Option<[u64; 2]>;
}

/// What the driver must not do. The ring gives nothing any more; the device needs a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// More buffers are available than the queue has descriptors: section 2.7.13.3.
    Index {
        /// The available index.
        claimed: u16,
        /// What it was.
        before: u16,
    },
    /// A descriptor beyond the end of the ring or of its table.
    Descriptor {
        /// Which.
        index: u16,
        /// How many there are.
        size: u16,
    },
    /// A chain that goes on after so many descriptors: it has a loop, or is longer than the queue
    /// or what the device has room for.
    Long(usize),
    /// A table that is empty, no multiple of 16 bytes long, or not allowed here.
    Table {
        /// Where it is.
        address: u64,
        /// Its bytes.
        length: u32,
    },
    /// A table has a descriptor where the driver has no memory.
    OutsideMemory(u64),
    /// A segment to read comes after one to write: section 2.7.4.2.
    Order,
    /// A chain has so many bytes, more than fit into 32 bits.
    Bytes(u64),
}

/// A buffer that is the device's until it is [completed](Ring::complete).
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the driver waits for it"]
pub struct Chain {
    /// Names it to the driver.
    id: u16,
    /// Descriptors in the ring.
    count: u16,
    /// Segments to read, the first ones.
    pub readable: usize,
    /// Segments to write, after them.
    pub writable: usize,
    /// Bytes of those.
    pub room: u32,
}

/// A virtqueue, seen from the device. The caller lets in one thread at a time.
#[derive(Debug)]
pub enum Ring<M> {
    /// Without `VIRTIO_F_RING_PACKED`.
    Split(Split<M>),
    /// With it.
    Packed(Packed<M>),
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

impl<M: Memory> Ring<M> {
    /// A queue that the driver has just set up in `areas`.
    ///
    /// # Errors
    ///
    /// [`BadRing::Size`] and [`BadRing::Area`].
    pub fn new(settings: Settings, areas: Areas<M>) -> Result<Self, BadRing> {
        match settings.features.has(Features::RING_PACKED) {
            false => Split::new(settings, areas).map(Self::Split),
            true => Packed::new(settings, areas).map(Self::Packed),
        }
    }

    /// A queue that a device before this one had in `areas`, and completed at least as far as
    /// `progress` says: it takes the first buffer that the driver has not been given back.
    ///
    /// # Errors
    ///
    /// [`BadRing::Size`], [`BadRing::Area`] and [`BadRing::Progress`].
    pub fn resume(
        settings: Settings,
        areas: Areas<M>,
        progress: Progress,
    ) -> Result<Self, BadRing> {
        match settings.features.has(Features::RING_PACKED) {
            false => Split::resume(settings, areas, progress).map(Self::Split),
            true => Packed::resume(settings, areas, progress).map(Self::Packed),
        }
    }

    /// How far the device is when it completes these buffers next, the first ones that it has, and
    /// publishes them at once. To be kept, before that, where it outlives the device; see
    /// [`Progress`].
    #[inline]
    pub fn completing(&self, chains: &[Chain]) -> Progress {
        either!(self, ring => {
            ring.progress(chains.iter().fold(0, |steps, chain| steps.wrapping_add(ring.step(chain))))
        })
    }

    /// How far the device is, with every buffer that it took published.
    pub fn progress(&self) -> Progress {
        either!(self, ring => ring.progress(0))
    }

    /// Where the next buffer comes: which entry of the available ring, or which descriptor.
    pub fn next(&self) -> u16 {
        either!(self, ring => ring.next())
    }

    /// The first descriptor of the next available buffer, if there is one. It is not taken, and
    /// may be anything.
    pub fn head(&self) -> Option<u16> {
        either!(self, ring => ring.head())
    }

    /// Takes the next available buffer, if there is one. Its segments are put into `segments`,
    /// which limits their number, as does the size of the queue; their addresses are as the
    /// driver gave them.
    ///
    /// # Errors
    ///
    /// [`Broken`], now and from now on.
    #[inline]
    pub fn pop<G: Tables>(
        &mut self,
        tables: &G,
        segments: &mut [Segment],
    ) -> Result<Option<Chain>, Broken> {
        either!(self, ring => ring.pop(tables, segments))
    }

    /// Gives a buffer back, with `length` bytes of its [room](Chain::room) written, from the
    /// beginning. The driver does not see it before [`Self::publish`]. With `VIRTIO_F_IN_ORDER`,
    /// buffers are to be completed in the order in which they came.
    #[inline]
    pub fn complete(&mut self, chain: Chain, length: u32) {
        either!(self, ring => ring.complete(&chain, length))
    }

    /// Shows the driver all that was completed. Whether it wants an interrupt for that.
    #[inline]
    #[must_use = "the driver may wait for the interrupt"]
    pub fn publish(&mut self) -> bool {
        either!(self, ring => ring.publish())
    }

    /// Asks to be notified of the next available buffer. True: there is one already, or the ring
    /// is broken, so that the notification may not come.
    #[must_use = "a notification may not come for what is available already"]
    pub fn enable_notifications(&mut self) -> bool {
        either!(self, ring => ring.enable_notifications())
    }

    /// Asks not to be notified. Some notifications may come nevertheless.
    pub fn disable_notifications(&mut self) {
        either!(self, ring => ring.disable_notifications())
    }
}

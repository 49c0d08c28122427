// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What either side has to know of its queue.

use crate::memory::{
    Areas,
    Memory,
    Short, //
};
use virtio_spec::{
    features::Features,
    packed,
    split, //
};

/// What a ring has to know of its queue.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Number of the queue, for its notifications.
    pub queue: u16,
    /// Descriptors: 1 to 32768, a power of two without `VIRTIO_F_RING_PACKED`.
    pub size: u16,
    /// The features that were negotiated.
    pub features: Features,
}

/// Why there can be no such ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRing {
    /// A queue cannot have this size.
    Size(u16),
    /// An area is too short.
    Area(Short),
    /// There are not as many slots as descriptors.
    Slots {
        /// Slots needed.
        needed: u16,
        /// Slots lent.
        lent: usize,
    },
    /// A device cannot have got there.
    Progress(u32),
}

impl Settings {
    /// Most descriptors of an indirect table: section 2.7.5.3.1.
    pub(crate) const fn longest_table(&self) -> u16 {
        match self.features.has(Features::INDIRECT_DESC) {
            true => self.size,
            false => 0,
        }
    }

    /// # Errors
    ///
    /// [`BadRing::Size`] and [`BadRing::Area`].
    pub(crate) fn check_split<M: Memory>(&self, areas: &Areas<M>) -> Result<(), BadRing> {
        let size = self.size;
        if !size.is_power_of_two() || size > split::MAX_SIZE {
            return Err(BadRing::Size(size));
        }
        let needed = [
            split::descriptor_area(size),
            split::driver_area(size),
            split::device_area(size),
        ];
        areas.check(needed).map_err(BadRing::Area)
    }

    /// # Errors
    ///
    /// [`BadRing::Size`] and [`BadRing::Area`].
    pub(crate) fn check_packed<M: Memory>(&self, areas: &Areas<M>) -> Result<(), BadRing> {
        let size = self.size;
        if size == 0 || size > packed::MAX_SIZE {
            return Err(BadRing::Size(size));
        }
        let needed = [packed::descriptor_area(size), packed::EVENT, packed::EVENT];
        areas.check(needed).map_err(BadRing::Area)
    }
}

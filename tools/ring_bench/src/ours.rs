// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A driver with a ring of ours.

use std::hint::black_box;

use virtio_ring::driver::{Ring, Settings, Slot};
use virtio_ring::memory::Areas;
use virtio_ring::segment::Segment;

use crate::area::{together, Area};
use crate::case::{Format, LENGTHS, QUEUE_SIZE};
use crate::driver::Driver;

/// What names a buffer: as long as a pointer to a request.
type Token = usize;

pub(crate) struct Ours {
    ring: Ring<Area, Vec<Slot<Token>>>,
    // Not arrays: a driver's buffers are not known when it is compiled.
    readable: Vec<Segment>,
    writable: Vec<Segment>,
}

impl Ours {
    /// A driver, and the memory of its ring.
    pub(crate) fn start(format: Format) -> (Box<dyn Driver>, Areas<Area>) {
        let settings = Settings {
            queue: 0,
            size: QUEUE_SIZE,
            features: format.features(),
        };
        let areas = format.areas().map(Area::new);
        let slots = (0..QUEUE_SIZE).map(|_| Slot::new()).collect();
        let mut ring =
            Ring::new(settings, together(areas), slots).expect("the areas are large enough");
        ring.disable_interrupts();
        let segment = |length| Segment {
            address: Area::new(length as usize).span().0,
            length,
        };
        let (readable, writable) = LENGTHS.split_at(1);
        let driver = Self {
            ring,
            readable: readable.iter().copied().map(segment).collect(),
            writable: writable.iter().copied().map(segment).collect(),
        };
        (Box::new(driver), together(areas))
    }
}

impl Driver for Ours {
    #[inline(never)]
    fn offer(&mut self, count: usize) {
        for token in 0..count {
            let added = self.ring.add(&self.readable, &self.writable, token);
            added.expect("there is room for a batch");
        }
        // The device polls. The kernel's driver asks no more than this, either.
        black_box(self.ring.publish().is_some());
    }

    #[inline(never)]
    fn collect(&mut self, count: usize) -> usize {
        for collected in 0..count {
            let used = self.ring.pop().expect("the device is honest");
            if used.is_none() {
                return collected;
            }
        }
        count
    }
}

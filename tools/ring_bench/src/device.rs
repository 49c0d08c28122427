// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The device of all measurements, with a ring of ours: it polls, reads every descriptor, uses
//! buffers in the order of their coming, and asks for a notification whenever it has used all.

use virtio_ring::device::{Chain, Ring, Settings, Tables};
use virtio_ring::memory::Areas;
use virtio_ring::segment::Segment;

use crate::area::Area;
use crate::case::{Format, LENGTHS, QUEUE_SIZE};

pub(crate) struct Device {
    ring: Ring<Area>,
    segments: [Segment; LENGTHS.len()],
}

/// There are no indirect descriptors.
struct NoTables;

impl Tables for NoTables {
    fn descriptor(&self, _address: u64) -> Option<[u64; 2]> {
        None
    }
}

impl Device {
    /// The device of a driver that has just set up these areas.
    pub(crate) fn new(format: Format, areas: Areas<Area>) -> Self {
        let settings = Settings {
            queue: 0,
            size: QUEUE_SIZE,
            features: format.features(),
        };
        Self {
            ring: Ring::new(settings, areas).expect("the areas are large enough"),
            segments: [Segment::default(); LENGTHS.len()],
        }
    }

    /// Uses all buffers that are there: their number.
    pub(crate) fn serve(&mut self) -> usize {
        let mut count = 0;
        while let Some(chain) = self.next() {
            let room = chain.room;
            self.ring.complete(chain, room);
            count += 1;
        }
        if count > 0 {
            // Nobody waits for interrupts, and what comes meanwhile is served next time.
            let _ = self.ring.publish();
            let _ = self.ring.enable_notifications();
        }
        count
    }

    fn next(&mut self) -> Option<Chain> {
        let popped = self.ring.pop(&NoTables, &mut self.segments);
        popped.expect("the driver is honest")
    }
}

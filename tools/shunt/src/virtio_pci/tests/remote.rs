// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Queues in memory that the device has only copies of.

use virtio_ring::driver::{Ring, Settings, Slot, Table};
use virtio_ring::memory::Areas;
use virtio_ring::segment::Segment;
use virtio_spec::{packed, split};

use crate::guest_area::GuestArea;
use crate::pci::Direction;

use super::*;

const SIZE: u16 = 8;
const TABLES: u64 = 0x8000;

/// The driver's memory, and its side of the queue.
struct Driver {
    memory: GuestMemoryMmap,
    ring: Ring<GuestArea, Vec<Slot<u16>>>,
}

impl Driver {
    fn new(features: Features) -> Self {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY_SIZE)]).unwrap();
        let [descriptors, driver, device] = match features.has(Features::RING_PACKED) {
            true => [packed::descriptor_area(SIZE), packed::EVENT, packed::EVENT],
            false => [
                split::descriptor_area(SIZE),
                split::driver_area(SIZE),
                split::device_area(SIZE),
            ],
        };
        let area = |address, bytes| GuestArea::new(&memory, address, bytes, 16).unwrap();
        let areas = Areas {
            descriptors: area(DESCRIPTORS, descriptors),
            driver: area(DRIVER_AREA, driver),
            device: area(DEVICE_AREA, device),
        };
        let settings = Settings {
            queue: 0,
            size: SIZE,
            features,
        };
        let slots = (0..SIZE).map(|_| Slot::new()).collect();
        Self {
            ring: Ring::new(settings, areas, slots).unwrap(),
            memory,
        }
    }

    /// A byte to read, and one to write; some in a table.
    fn submit(&mut self, token: u16) {
        let buffer = BUFFER + 2 * u64::from(token);
        self.memory
            .write_obj(0u8, GuestAddress(buffer + 1))
            .unwrap();
        let [question, answer] =
            [buffer, buffer + 1].map(|address| [Segment { address, length: 1 }]);
        if token % 2 == 0 {
            return self.ring.add(&question, &answer, token).unwrap();
        }
        let address = TABLES + 32 * u64::from(token);
        let memory = GuestArea::new(&self.memory, address, 32, 16).unwrap();
        let table = Table {
            memory: &memory,
            address,
        };
        self.ring
            .add_indirect(table, &question, &answer, token)
            .unwrap();
    }

    fn take(&mut self) -> Option<u16> {
        let used = self.ring.pop().unwrap()?;
        let at = GuestAddress(BUFFER + 2 * u64::from(used.token) + 1);
        assert_eq!(self.memory.read_obj::<u8>(at).unwrap(), b'.');
        Some(used.token)
    }

    /// Does what the device asks for until it rests.
    fn serve(&self, rig: &mut Rig) {
        loop {
            let more = rig.device.work();
            let Some(transfer) = rig.device.transfer() else {
                if more {
                    continue;
                }
                return;
            };
            let (from, to) = match transfer.direction {
                Direction::Fetch => (&self.memory, &rig.memory),
                Direction::WriteBack => (&rig.memory, &self.memory),
            };
            for range in transfer.ranges {
                let mut bytes = vec![0; range.length as usize];
                let at = GuestAddress(range.address);
                from.read_slice(&mut bytes, at).unwrap();
                to.write_slice(&bytes, at).unwrap();
            }
            let number = transfer.number;
            rig.device.transferred(number, true);
        }
    }
}

#[test]
fn requests_are_done_round_after_round() {
    for ring in [Features::default(), Features::RING_PACKED] {
        let features = ring.with(Features::INDIRECT_DESC).with(Features::IN_ORDER);
        let mut rig = Rig::new();
        let all = Range {
            address: 0,
            length: MEMORY_SIZE as u64,
        };
        rig.device.set_memory(rig.memory.clone(), vec![all]);
        rig.start_with(features);
        let mut driver = Driver::new(features);
        // Three lap the ring.
        for round in 0..20 {
            let tokens = 3 * round..3 * round + 3;
            tokens.clone().for_each(|token| driver.submit(token));
            let _ = driver.ring.publish();
            rig.word(layout::NOTIFY, 0);
            driver.serve(&mut rig);
            let done: Vec<u16> = std::iter::from_fn(|| driver.take()).collect();
            assert_eq!(done, tokens.collect::<Vec<_>>(), "{features:?}");
            assert_eq!(rig.device.interrupts().pending, 1 << 1, "{features:?}");
            rig.device.delivered(1 << 1);
        }
        assert_eq!(rig.status(), 15, "{features:?}");
    }
}

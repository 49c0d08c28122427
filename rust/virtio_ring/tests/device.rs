// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The device's side, word by word.

mod area;

use area::Area;
use virtio_ring::device::{Broken, Ring, Settings, Tables};
use virtio_ring::memory::{Areas, Memory};
use virtio_ring::segment::Segment;
use virtio_spec::features::Features;

const SIZE: u16 = 4;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// A table of two descriptors at 0x1000.
struct OneTable(Area);

impl Tables for OneTable {
    fn descriptor(&self, address: u64) -> Option<[u64; 2]> {
        let at = address.checked_sub(0x1000)? as usize;
        (at + 16 <= self.0.bytes()).then(|| self.0.load64_pair(at))
    }
}

/// A device's ring, and what the driver has.
struct Queue {
    ring: Ring<Area>,
    driver: Areas<Area>,
    table: OneTable,
    is_packed: bool,
    available: u16,
}

impl Queue {
    fn new(features: Features) -> Self {
        let cleared = |bytes| {
            let area = Area::new(bytes);
            (0..bytes / 2).for_each(|index| area.store16(2 * index, 0));
            area
        };
        let [descriptors, driver, device] = [64, 14, 38].map(cleared);
        let ours = Areas {
            descriptors: descriptors.clone(),
            driver: driver.clone(),
            device: device.clone(),
        };
        let settings = Settings {
            queue: 0,
            size: SIZE,
            features: features.with(Features::INDIRECT_DESC),
        };
        Self {
            ring: Ring::new(settings, ours).unwrap(),
            driver: Areas {
                descriptors,
                driver,
                device,
            },
            table: OneTable(cleared(32)),
            is_packed: features.has(Features::RING_PACKED),
            available: 0,
        }
    }

    fn put(&self, area: &Area, index: u16, segment: (u64, u32), flags: u16, id_or_next: u16) {
        let at = 16 * usize::from(index);
        area.store64(at, segment.0);
        area.store32(at + 8, segment.1);
        let (flags_at, other_at) = if self.is_packed { (14, 12) } else { (12, 14) };
        area.store16(at + other_at, id_or_next);
        area.store16(at + flags_at, flags);
    }

    /// Writes a descriptor of the ring, of the first round.
    fn descriptor(&self, index: u16, segment: (u64, u32), flags: u16, id_or_next: u16) {
        let flags = if self.is_packed {
            flags | 1 << 7
        } else {
            flags
        };
        self.put(&self.driver.descriptors, index, segment, flags, id_or_next);
    }

    fn table_descriptor(&self, index: u16, segment: (u64, u32), flags: u16, next: u16) {
        self.put(&self.table.0, index, segment, flags, next);
    }

    /// Makes a chain of a split ring available.
    fn offer(&mut self, head: u16) {
        let at = 4 + 2 * usize::from(self.available % SIZE);
        self.driver.driver.store16(at, head);
        self.available += 1;
        self.driver.driver.store16(2, self.available);
    }

    /// The segments of the next chain, and how many are to be read.
    fn pop(&mut self) -> Result<Option<(usize, Vec<Segment>)>, Broken> {
        let mut segments = [Segment::default(); SIZE as usize];
        let chain = self.ring.pop(&self.table, &mut segments)?;
        Ok(chain.map(|chain| {
            let count = chain.readable + chain.writable;
            (chain.readable, segments[..count].to_vec())
        }))
    }

    fn assert_broken(&mut self, broken: Broken) {
        assert_eq!(self.pop(), Err(broken));
        assert_eq!(self.pop(), Err(broken), "it stays so");
        assert!(self.ring.enable_notifications());
    }
}

fn segment((address, length): (u64, u32)) -> Segment {
    Segment { address, length }
}

#[test]
fn a_split_chain_is_used_as_the_specification_says() {
    let mut queue = Queue::new(Features::VERSION_1);
    queue.descriptor(2, (0x8000, 16), NEXT, 0);
    queue.descriptor(0, (0x9000, 512), WRITE, 0);
    queue.offer(2);
    let mut segments = [Segment::default(); 4];
    let chain = queue
        .ring
        .pop(&queue.table, &mut segments)
        .unwrap()
        .unwrap();
    assert_eq!((chain.readable, chain.writable, chain.room), (1, 1, 512));
    assert_eq!(segments[..2], [(0x8000, 16), (0x9000, 512)].map(segment));
    queue.ring.complete(chain, 100);
    let device = &queue.driver.device;
    assert_eq!(device.load16(2), 0, "not published");
    assert!(queue.ring.publish());
    assert_eq!(
        (device.load16(2), device.load32(4), device.load32(8)),
        (1, 2, 100)
    );
}

#[test]
fn a_packed_chain_is_used_as_the_specification_says() {
    let mut queue = Queue::new(Features::RING_PACKED);
    queue.descriptor(0, (0x8000, 16), NEXT, 7);
    queue.descriptor(1, (0x9000, 512), WRITE, 7);
    let mut segments = [Segment::default(); 4];
    let chain = queue
        .ring
        .pop(&queue.table, &mut segments)
        .unwrap()
        .unwrap();
    assert_eq!((chain.readable, chain.writable, chain.room), (1, 1, 512));
    assert_eq!(segments[..2], [(0x8000, 16), (0x9000, 512)].map(segment));
    queue.ring.complete(chain, 100);
    let descriptors = &queue.driver.descriptors;
    assert_eq!(descriptors.load16(14), NEXT | 1 << 7, "not published");
    assert!(queue.ring.publish());
    assert_eq!(
        descriptors.load16(14) & (1 << 7 | 1 << 15),
        1 << 7 | 1 << 15
    );
    assert_eq!((descriptors.load32(8), descriptors.load16(12)), (100, 7));
    assert_eq!(queue.pop(), Ok(None), "the next one was skipped");
}

#[test]
fn a_table_may_end_a_chain() {
    for features in [Features::VERSION_1, Features::RING_PACKED] {
        let mut queue = Queue::new(features);
        queue.descriptor(0, (0x8000, 16), NEXT, 1);
        queue.descriptor(1, (0x1000, 32), INDIRECT, 0);
        queue.table_descriptor(0, (0xa000, 1), NEXT, 1);
        queue.table_descriptor(1, (0xb000, 2), WRITE, 0);
        if !queue.is_packed {
            queue.offer(0);
        }
        let segments = [(0x8000, 16), (0xa000, 1), (0xb000, 2)].map(segment);
        assert_eq!(queue.pop(), Ok(Some((2, segments.to_vec()))));
    }
}

#[test]
fn an_available_index_that_runs_ahead_breaks_the_ring() {
    let mut queue = Queue::new(Features::VERSION_1);
    queue.driver.driver.store16(2, 5);
    let (claimed, before) = (5, 0);
    queue.assert_broken(Broken::Index { claimed, before });
}

#[test]
fn a_chain_that_leaves_the_ring_breaks_it() {
    let (index, size) = (4, SIZE);
    for next in [None, Some(index)] {
        let mut queue = Queue::new(Features::VERSION_1);
        queue.descriptor(0, (0, 1), NEXT, index);
        queue.offer(if next.is_some() { 0 } else { index });
        queue.assert_broken(Broken::Descriptor { index, size });
    }
}

#[test]
fn a_chain_without_an_end_breaks_the_ring() {
    for features in [Features::VERSION_1, Features::RING_PACKED] {
        let mut queue = Queue::new(features);
        for index in 0..SIZE {
            queue.descriptor(index, (0, 1), NEXT, (index + 1) % SIZE);
        }
        if !queue.is_packed {
            queue.offer(0);
        }
        queue.assert_broken(Broken::Long(SIZE.into()));
    }
}

#[test]
fn a_chain_that_cannot_be_breaks_the_ring() {
    let (address, length) = (0x1000, 33);
    let cases = [
        (
            (0, u32::MAX),
            NEXT | WRITE,
            (0, 1),
            WRITE,
            Broken::Bytes(1 << 32),
        ),
        ((0, 1), NEXT | WRITE, (0, 1), 0, Broken::Order),
        (
            (address, length),
            INDIRECT,
            (0, 0),
            0,
            Broken::Table { address, length },
        ),
        (
            (0xfff, 32),
            INDIRECT,
            (0, 0),
            0,
            Broken::OutsideMemory(0xfff),
        ),
    ];
    for features in [Features::VERSION_1, Features::RING_PACKED] {
        for (first, first_flags, second, second_flags, broken) in cases {
            let mut queue = Queue::new(features);
            queue.descriptor(0, first, first_flags, 1);
            queue.descriptor(1, second, second_flags, 0);
            if !queue.is_packed {
                queue.offer(0);
            }
            queue.assert_broken(broken);
        }
    }
}

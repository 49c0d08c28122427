// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The driver's side, word by word.

mod area;

use area::Area;
use virtio_ring::driver::{Ring, Settings, Slot, Used};
use virtio_ring::memory::{Areas, Memory};
use virtio_ring::segment::{Parts, Segment};
use virtio_spec::features::Features;
use virtio_spec::notification::Notification;

const QUEUE: u16 = 3;
const SIZE: u16 = 4;

fn segment(address: u64, length: u32) -> Segment {
    Segment { address, length }
}

fn ring<T>(features: Features) -> (Ring<Area, Vec<Slot<T>>>, Areas<Area>) {
    let areas = || Areas {
        descriptors: Area::new(16 * 4),
        driver: Area::new(6 + 2 * 4),
        device: Area::new(6 + 8 * 4),
    };
    let areas = areas();
    let settings = Settings {
        queue: QUEUE,
        size: SIZE,
        features,
    };
    let slots = (0..SIZE).map(|_| Slot::new()).collect();
    let shared = Areas {
        descriptors: areas.descriptors.clone(),
        driver: areas.driver.clone(),
        device: areas.device.clone(),
    };
    (Ring::new(settings, areas, slots).unwrap(), shared)
}

#[test]
fn a_split_ring_has_the_words_of_the_specification() {
    let (mut ring, areas) = ring(Features::VERSION_1);
    let (readable, writable) = (
        [segment(0x1000, 16)],
        [segment(0x2000, 512), segment(0x3000, 1)],
    );
    ring.add(&readable, &writable, "read").unwrap();
    assert_eq!(areas.driver.load16(2), 0, "not published");
    let next = 1;
    let notification = Notification { queue: QUEUE, next };
    assert_eq!(ring.publish(), Some(notification));
    assert_eq!(areas.driver.load16(2), 1);
    let head = usize::from(areas.driver.load16(4));
    let mut at = 16 * head;
    for (buffer, flags) in [(readable[0], 1), (writable[0], 3), (writable[1], 2)] {
        let words = (
            areas.descriptors.load64(at),
            areas.descriptors.load32(at + 8),
        );
        assert_eq!(words, (buffer.address, buffer.length));
        assert_eq!(areas.descriptors.load16(at + 12), flags);
        at = 16 * usize::from(areas.descriptors.load16(at + 14));
    }
    assert_eq!(ring.pop(), Ok(None));
    areas.device.store32(4, head as u32);
    areas.device.store32(8, 513);
    areas.device.store16(2, 1);
    let (token, length) = ("read", 513);
    assert_eq!(ring.pop(), Ok(Some(Used { token, length })));
    assert_eq!(ring.free(), SIZE);
}

#[test]
fn a_packed_ring_has_the_words_of_the_specification() {
    let (mut ring, areas) = ring(Features::VERSION_1.with(Features::RING_PACKED));
    let (readable, writable) = (
        [segment(0x1000, 16)],
        [segment(0x2000, 512), segment(0x3000, 1)],
    );
    ring.add(&readable, &writable, "read").unwrap();
    assert_eq!(areas.descriptors.load16(14), 0, "not published");
    let next = 3 | 1 << 15;
    let notification = Notification { queue: QUEUE, next };
    assert_eq!(ring.publish(), Some(notification));
    let id = areas.descriptors.load16(12);
    let available = 1 << 7;
    let buffers = [(readable[0], 1), (writable[0], 3), (writable[1], 2)];
    for (at, (buffer, flags)) in [0, 16, 32].into_iter().zip(buffers) {
        let words = (
            areas.descriptors.load64(at),
            areas.descriptors.load32(at + 8),
        );
        assert_eq!(words, (buffer.address, buffer.length));
        assert_eq!(areas.descriptors.load16(at + 12), id);
        assert_eq!(areas.descriptors.load16(at + 14), flags | available);
    }
    assert_eq!(ring.pop(), Ok(None));
    areas.descriptors.store32(8, 513);
    areas.descriptors.store16(14, 1 << 7 | 1 << 15);
    let (token, length) = ("read", 513);
    assert_eq!(ring.pop(), Ok(Some(Used { token, length })));
    assert_eq!(ring.free(), SIZE);
}

#[test]
fn segments_can_be_in_the_token() {
    for features in [Features::VERSION_1, Features::RING_PACKED] {
        let (mut ring, areas) = ring(features);
        let token = vec![segment(0x5000, 7)];
        ring.add_with(token, |token| Parts {
            readable: token,
            writable: &[],
        })
        .unwrap();
        assert!(ring.publish().is_some());
        assert_eq!(areas.descriptors.load64(0), 0x5000);
    }
}

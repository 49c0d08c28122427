// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The driver's side, word by word.

mod area;

use area::Area;
use virtio_ring::driver::{BadRing, Broken, Refused, Ring, Settings, Slot, Used};
use virtio_ring::memory::{Areas, Memory, Short};
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

/// A ring with one buffer of two bytes to write, and its id.
fn ring_with_one(features: Features) -> (Ring<Area, Vec<Slot<()>>>, Areas<Area>, u16) {
    let (mut ring, areas) = ring(features);
    ring.add(&[], &[segment(0, 2)], ()).unwrap();
    assert!(ring.publish().is_some());
    let id = match features.has(Features::RING_PACKED) {
        true => areas.descriptors.load16(12),
        false => areas.driver.load16(4),
    };
    (ring, areas, id)
}

/// The ring says what is wrong, and takes and gives nothing any more until it is reset.
fn assert_broken<T: Default + PartialEq + std::fmt::Debug>(
    ring: &mut Ring<Area, Vec<Slot<T>>>,
    broken: Broken,
) {
    for _ in 0..2 {
        assert_eq!(ring.pop(), Err(broken));
        let added = ring.add(&[], &[segment(0, 1)], T::default());
        assert_eq!(added, Err((Refused::Broken(broken), T::default())));
        assert_eq!(ring.publish(), None);
        assert!(ring.is_ready() && ring.enable_interrupts());
    }
    let mut lost = 0;
    ring.reset(|_| lost += 1);
    assert_eq!((lost, ring.pop(), ring.free()), (1, Ok(None), SIZE));
}

#[test]
fn a_used_index_that_runs_ahead_breaks_the_ring() {
    let (mut ring, areas, _) = ring_with_one(Features::VERSION_1);
    areas.device.store16(2, 2);
    let (claimed, published, before) = (2, 1, 0);
    let broken = Broken::Index {
        claimed,
        published,
        before,
    };
    assert_broken(&mut ring, broken);
}

#[test]
fn an_id_or_a_length_that_cannot_be_breaks_a_split_ring() {
    for (id, claimed, broken) in [
        (1, 2, Broken::Id(1)),
        (u32::from(SIZE), 2, Broken::Id(SIZE.into())),
        (u32::MAX, 0, Broken::Id(u32::MAX)),
        (0, 3, too_long(0)),
    ] {
        let (mut ring, areas, own) = ring_with_one(Features::VERSION_1);
        assert_eq!(own, 0);
        areas.device.store32(4, id);
        areas.device.store32(8, claimed);
        areas.device.store16(2, 1);
        assert_broken(&mut ring, broken);
    }
}

#[test]
fn an_id_or_a_length_that_cannot_be_breaks_a_packed_ring() {
    for (id, claimed, broken) in [
        (1, 2, Broken::Id(1)),
        (SIZE, 2, Broken::Id(SIZE.into())),
        (0, 3, too_long(0)),
    ] {
        let (mut ring, areas, own) = ring_with_one(Features::RING_PACKED);
        assert_eq!(own, 0);
        areas.descriptors.store32(8, claimed);
        areas.descriptors.store16(12, id);
        areas.descriptors.store16(14, 1 << 7 | 1 << 15);
        assert_broken(&mut ring, broken);
    }
}

/// Three bytes, where there is room for two.
fn too_long(id: u32) -> Broken {
    let (claimed, writable) = (3, 2);
    Broken::Length {
        id,
        claimed,
        writable,
    }
}

#[test]
fn what_makes_no_ring_is_named() {
    let try_with = |features, size, [descriptors, driver, device]: [usize; 3], slots| {
        let areas = Areas {
            descriptors: Area::new(descriptors),
            driver: Area::new(driver),
            device: Area::new(device),
        };
        let settings = Settings {
            queue: QUEUE,
            size,
            features,
        };
        let slots: Vec<Slot<()>> = (0..slots).map(|_| Slot::new()).collect();
        Ring::new(settings, areas, slots).err()
    };
    let (split, packed) = (Features::VERSION_1, Features::RING_PACKED);
    let short = |needed, bytes| Some(BadRing::Area(Short { needed, bytes }));
    let none = [0; 3];
    assert_eq!(try_with(split, 3, none, 3), Some(BadRing::Size(3)));
    assert_eq!(try_with(split, 0, none, 0), Some(BadRing::Size(0)));
    assert_eq!(try_with(packed, 0, none, 0), Some(BadRing::Size(0)));
    let too_large = (1 << 15) + 1;
    let refused = try_with(packed, too_large, none, 0);
    assert_eq!(refused, Some(BadRing::Size(too_large)));
    assert_eq!(try_with(split, 4, [63, 14, 38], 4), short(64, 63));
    assert_eq!(try_with(split, 4, [64, 13, 38], 4), short(14, 13));
    assert_eq!(try_with(split, 4, [64, 14, 37], 4), short(38, 37));
    assert_eq!(try_with(packed, 3, [48, 4, 3], 3), short(4, 3));
    let (needed, lent) = (3, 2);
    let slots = Some(BadRing::Slots { needed, lent });
    assert_eq!(try_with(packed, 3, [48, 4, 4], 2), slots);
    assert_eq!(try_with(packed, 3, [48, 4, 4], 3), None);
}

#[test]
fn a_buffer_that_the_device_does_not_see_cannot_be_used() {
    let (mut ring, areas, _) = ring_with_one(Features::VERSION_1);
    ring.add(&[segment(0, 1)], &[], ()).unwrap();
    areas.device.store32(4, 1);
    areas.device.store32(8, 0);
    areas.device.store16(2, 1);
    assert_eq!(ring.pop(), Err(Broken::Id(1)));
    let (mut ring, areas, _) = ring_with_one(Features::RING_PACKED);
    ring.add(&[segment(0, 1)], &[], ()).unwrap();
    areas.descriptors.store64(8, 1 << 32 | 0x8080 << 48);
    assert_eq!(ring.pop(), Err(Broken::Id(1)));
}

#[test]
fn nothing_remains_of_a_buffer_with_too_many_bytes() {
    let too_much = [segment(0, u32::MAX), segment(0, 1), segment(0, 1)];
    let refused = Refused::Bytes(u64::from(u32::MAX) + 2);
    let (mut split, _) = ring(Features::VERSION_1);
    assert_eq!(split.add(&too_much, &[], ()), Err((refused, ())));
    assert_eq!((split.publish(), split.free()), (None, SIZE));
    let (mut packed, areas) = ring(Features::RING_PACKED);
    for used in [1 << 7 | 1 << 15, 0] {
        assert_eq!(packed.add(&too_much, &[], ()), Err((refused, ())));
        assert_eq!((packed.publish(), packed.free()), (None, SIZE));
        for at in [14, 30, 46] {
            let flags = areas.descriptors.load16(at) & (1 << 7 | 1 << 15);
            assert!(flags != used && (flags == 0 || flags == 0x8080));
        }
        packed
            .add(&[segment(0, 1); SIZE as usize], &[], ())
            .unwrap();
        assert!(packed.publish().is_some());
        areas.descriptors.store32(8, 0);
        areas.descriptors.store16(14, used);
        assert!(packed.pop().unwrap().is_some());
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Both sides of a queue in threads of the machine, on its own atomics. Under Miri this also
//! looks for races, with loads that see old values as the memory model allows.

use std::sync::atomic::{
    fence, AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};
use std::sync::Arc;
use std::thread::{self, Thread};

use virtio_ring::device::{self, Tables};
use virtio_ring::driver::{self, Settings, Slot};
use virtio_ring::memory::{Areas, Memory};
use virtio_ring::segment::Segment;
use virtio_spec::features::Features;
use virtio_spec::{packed, split};

const SIZE: u16 = 4;

/// An area with a word for each 16 bits, of which those count where an access begins: a ring uses
/// each place with one width only.
#[derive(Clone)]
struct Area(Arc<[AtomicU64]>);

impl Area {
    fn new(bytes: usize) -> Self {
        Self((0..bytes / 2).map(|_| AtomicU64::new(0)).collect())
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        &self.0[at / 2]
    }
}

impl Memory for Area {
    fn bytes(&self) -> usize {
        self.0.len() * 2
    }

    fn load16(&self, at: usize) -> u16 {
        self.word(at).load(Relaxed) as u16
    }

    fn load16_acquire(&self, at: usize) -> u16 {
        self.word(at).load(Acquire) as u16
    }

    fn load32(&self, at: usize) -> u32 {
        self.word(at).load(Relaxed) as u32
    }

    fn load64(&self, at: usize) -> u64 {
        self.word(at).load(Relaxed)
    }

    fn load64_acquire(&self, at: usize) -> u64 {
        self.word(at).load(Acquire)
    }

    fn store16(&self, at: usize, value: u16) {
        self.word(at).store(value.into(), Relaxed);
    }

    fn store16_release(&self, at: usize, value: u16) {
        self.word(at).store(value.into(), Release);
    }

    fn store32(&self, at: usize, value: u32) {
        self.word(at).store(value.into(), Relaxed);
    }

    fn store64(&self, at: usize, value: u64) {
        self.word(at).store(value, Relaxed);
    }

    fn store64_release(&self, at: usize, value: u64) {
        self.word(at).store(value, Release);
    }

    fn full_barrier(&self) {
        fence(SeqCst);
    }
}

fn areas(features: Features) -> Areas<Area> {
    let [descriptors, driver, device] = match features.has(Features::RING_PACKED) {
        true => [packed::descriptor_area(SIZE), packed::EVENT, packed::EVENT],
        false => [
            split::descriptor_area(SIZE),
            split::driver_area(SIZE),
            split::device_area(SIZE),
        ],
    }
    .map(Area::new);
    Areas {
        descriptors,
        driver,
        device,
    }
}

/// There are none.
struct NoTables;

impl Tables for NoTables {
    fn descriptor(&self, _: u64) -> Option<[u64; 2]> {
        None
    }
}

/// Uses so many buffers, asleep in between; writes as many bytes as a buffer's address says.
fn serve(mut ring: device::Ring<Area>, buffers: u64, driver: &Thread) {
    let (mut used, mut segments) = (0, [Segment::default(); 2]);
    while used < buffers {
        ring.disable_notifications();
        while let Some(chain) = ring.pop(&NoTables, &mut segments).unwrap() {
            used += 1;
            assert_eq!(segments[0].address, used);
            ring.complete(chain, used as u32);
        }
        if ring.publish() {
            driver.unpark();
        }
        if used < buffers && !ring.enable_notifications() {
            thread::park();
        }
    }
}

/// Adds and pops so many buffers, asleep while the ring is full or nothing has come back.
fn drive(mut ring: driver::Ring<Area, Vec<Slot<u64>>>, buffers: u64, device: &Thread) {
    let (mut added, mut back) = (0, 0);
    while back < buffers {
        ring.disable_interrupts();
        while let Some(used) = ring.pop().unwrap() {
            back += 1;
            assert_eq!((used.token, u64::from(used.length)), (back, back));
        }
        while added < buffers && ring.free() >= 2 {
            added += 1;
            let segment = Segment {
                address: added,
                length: u32::MAX / 2,
            };
            ring.add(&[segment], &[segment], added).unwrap();
        }
        if ring.publish().is_some() {
            device.unpark();
        }
        if back < buffers && !ring.enable_interrupts() {
            thread::park();
        }
    }
}

#[test]
fn buffers_go_round_in_order() {
    let buffers = if cfg!(miri) { 6 } else { 20_000 };
    for chosen in [
        Features::VERSION_1,
        Features::EVENT_IDX,
        Features::IN_ORDER,
        Features::RING_PACKED,
        Features::RING_PACKED.with(Features::EVENT_IDX),
        Features::RING_PACKED.with(Features::IN_ORDER),
    ] {
        let features = Features::VERSION_1.with(chosen);
        let settings = Settings {
            queue: 0,
            size: SIZE,
            features,
        };
        let ours = areas(features);
        let theirs = Areas {
            descriptors: ours.descriptors.clone(),
            driver: ours.driver.clone(),
            device: ours.device.clone(),
        };
        let slots = (0..SIZE).map(|_| Slot::new()).collect();
        let driver = driver::Ring::new(settings, ours, slots).unwrap();
        let device = device::Ring::new(settings, theirs).unwrap();
        let me = thread::current();
        let server = thread::spawn(move || serve(device, buffers, &me));
        drive(driver, buffers, server.thread());
        server.join().unwrap();
    }
}

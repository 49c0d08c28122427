// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A queue in the model checker's memory.

use std::collections::HashMap;
use std::ops::Range;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{
    fence, AtomicU64, Ordering,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};
use loom::sync::Arc;
use virtio_ring::device::{self, Tables};
use virtio_ring::driver::{self, Settings, Slot};
use virtio_ring::memory::{Areas, Memory};
use virtio_ring::segment::Segment;
use virtio_spec::features::Features;
use virtio_spec::{packed, split};

/// What else loom has to know of a word.
enum Kind {
    /// One side stores, the other one loads.
    OneWay,
    /// The sides take turns with it, by what else they tell each other. Loom checks that they
    /// do: it does not itself let a load see what is stored later.
    Turns(UnsafeCell<()>),
    /// Both sides load it and store it. Loom takes the last access for the only one that a store
    /// may come before, but that is the storing side's own load. So each side has a word that it
    /// loads too, and the other one stores.
    Both([AtomicU64; 2]),
}

/// What is stored and loaded at once.
struct Word {
    value: AtomicU64,
    kind: Kind,
}

impl Word {
    fn new(kind: Kind) -> Self {
        let value = AtomicU64::new(0);
        Self { value, kind }
    }
}

/// Words by offset, of whatever width they are used with.
type Words = HashMap<usize, Word>;

/// An area, as one side sees it.
pub(crate) struct Area {
    words: Arc<Words>,
    bytes: usize,
    side: usize,
}

impl Area {
    /// An area for both sides.
    fn both(bytes: usize, words: Words) -> [Self; 2] {
        let words = Arc::new(words);
        [0, 1].map(|side| Self {
            words: Arc::clone(&words),
            bytes,
            side,
        })
    }

    fn load_with(&self, at: usize, order: Ordering) -> u64 {
        let word = &self.words[&at];
        match &word.kind {
            Kind::OneWay => {}
            Kind::Turns(turns) => turns.with(|_| ()),
            Kind::Both(looks) => drop(looks[self.side].load(Relaxed)),
        }
        word.value.load(order)
    }

    fn store_with(&self, at: usize, value: u64, order: Ordering) {
        let word = &self.words[&at];
        match &word.kind {
            Kind::OneWay => {}
            Kind::Turns(turns) => turns.with_mut(|_| ()),
            Kind::Both(looks) => looks[1 - self.side].store(0, Relaxed),
        }
        word.value.store(value, order);
    }

    fn load(&self, at: usize) -> u64 {
        self.load_with(at, Relaxed)
    }

    fn store(&self, at: usize, value: u64) {
        self.store_with(at, value, Relaxed);
    }
}

impl Memory for Area {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn load16(&self, at: usize) -> u16 {
        self.load(at) as u16
    }

    fn load16_acquire(&self, at: usize) -> u16 {
        self.load_with(at, Acquire) as u16
    }

    fn load32(&self, at: usize) -> u32 {
        self.load(at) as u32
    }

    fn load64(&self, at: usize) -> u64 {
        self.load(at)
    }

    fn load64_acquire(&self, at: usize) -> u64 {
        self.load_with(at, Acquire)
    }

    fn store16(&self, at: usize, value: u16) {
        self.store(at, value.into());
    }

    fn store16_release(&self, at: usize, value: u16) {
        self.store_with(at, value.into(), Release);
    }

    fn store32(&self, at: usize, value: u32) {
        self.store(at, value.into());
    }

    fn store64(&self, at: usize, value: u64) {
        self.store(at, value);
    }

    fn store64_release(&self, at: usize, value: u64) {
        self.store_with(at, value, Release);
    }

    fn full_barrier(&self) {
        fence(SeqCst);
    }
}

/// There are none.
struct NoTables;

impl Tables for NoTables {
    fn descriptor(&self, _: u64) -> Option<[u64; 2]> {
        None
    }
}

/// Offsets of elements of `each` bytes.
fn elements(count: u16, from: usize, each: usize) -> impl Iterator<Item = usize> {
    let numbers: Range<usize> = 0..count.into();
    numbers.map(move |number| from + number * each)
}

fn one_way() -> Word {
    Word::new(Kind::OneWay)
}

fn in_turns() -> Word {
    Word::new(Kind::Turns(UnsafeCell::new(())))
}

fn split_areas(size: u16) -> [[Area; 2]; 3] {
    let descriptors = elements(2 * size, 0, 8).map(|at| (at, in_turns()));
    let heads = |event| [split::FLAGS, split::INDEX, event].map(|at| (at, one_way()));
    let available = elements(size, split::RING, split::AVAILABLE).map(|at| (at, in_turns()));
    let used = elements(2 * size, split::RING, split::USED / 2).map(|at| (at, in_turns()));
    let driver = heads(split::used_event(size)).into_iter().chain(available);
    let device = heads(split::avail_event(size)).into_iter().chain(used);
    [
        Area::both(split::descriptor_area(size), descriptors.collect()),
        Area::both(split::driver_area(size), driver.collect()),
        Area::both(split::device_area(size), device.collect()),
    ]
}

fn packed_areas(size: u16) -> [[Area; 2]; 3] {
    let addresses = elements(size, 0, packed::DESCRIPTOR).map(|at| (at, in_turns()));
    let looks = || Kind::Both([0, 0].map(AtomicU64::new));
    let rest = elements(size, 8, packed::DESCRIPTOR).map(|at| (at, Word::new(looks())));
    let descriptors = addresses.chain(rest).collect();
    let event = || Area::both(packed::EVENT, [(0, one_way())].into());
    [
        Area::both(packed::descriptor_area(size), descriptors),
        event(),
        event(),
    ]
}

/// The driver's side, whose buffers are one segment each, with an address that is the token.
pub(crate) struct Driver(driver::Ring<Area, Vec<Slot<u64>>>);

/// The device's side, which writes as many bytes as the address says.
pub(crate) struct Device(device::Ring<Area>);

/// Both sides of a new queue.
pub(crate) fn queue(size: u16, features: Features) -> (Driver, Device) {
    let [[descriptors, descriptors_too], [driver, driver_too], [device, device_too]] =
        match features.has(Features::RING_PACKED) {
            true => packed_areas(size),
            false => split_areas(size),
        };
    let areas = Areas {
        descriptors,
        driver,
        device,
    };
    let others = Areas {
        descriptors: descriptors_too,
        driver: driver_too,
        device: device_too,
    };
    let settings = Settings {
        queue: 0,
        size,
        features,
    };
    let slots = (0..size).map(|_| Slot::new()).collect();
    let driver = driver::Ring::new(settings, areas, slots).unwrap();
    (
        Driver(driver),
        Device(device::Ring::new(settings, others).unwrap()),
    )
}

impl Driver {
    /// Adds a buffer. Whether there was room.
    pub(crate) fn add(&mut self, token: u64) -> bool {
        let segment = Segment {
            address: token,
            length: 100,
        };
        self.0.add(&[], &[segment], token).is_ok()
    }

    /// Whether the device is to be notified.
    pub(crate) fn publish(&mut self) -> bool {
        self.0.publish().is_some()
    }

    /// The token of what came back, whose length must belong to it.
    pub(crate) fn pop(&mut self) -> Option<u64> {
        let used = self.0.pop().unwrap()?;
        assert_eq!(u64::from(used.length), used.token);
        Some(used.token)
    }

    /// Whether it may sleep until it is interrupted.
    pub(crate) fn may_sleep(&mut self) -> bool {
        !self.0.enable_interrupts()
    }

    pub(crate) fn wake_up(&mut self) {
        self.0.disable_interrupts();
    }
}

impl Device {
    /// Uses the next buffer, if there is one, without telling the driver. Its token.
    pub(crate) fn use_next(&mut self) -> Option<u64> {
        let mut segments = [Segment::default(); 1];
        let chain = self.0.pop(&NoTables, &mut segments).unwrap()?;
        let token = segments[0].address;
        self.0.complete(chain, token as u32);
        Some(token)
    }

    /// Whether the driver is to be interrupted.
    pub(crate) fn publish(&mut self) -> bool {
        self.0.publish()
    }

    /// Whether it may sleep until it is notified.
    pub(crate) fn may_sleep(&mut self) -> bool {
        !self.0.enable_notifications()
    }

    pub(crate) fn wake_up(&mut self) {
        self.0.disable_notifications();
    }
}

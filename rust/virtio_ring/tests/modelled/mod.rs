// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A queue in the model checker's memory.

use std::collections::HashMap;
use std::ops::Range;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{
    fence, AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};
use loom::sync::Arc;
use virtio_ring::device::{self, Tables};
use virtio_ring::driver::{self, Settings, Slot};
use virtio_ring::memory::{Areas, Memory};
use virtio_ring::segment::Segment;
use virtio_spec::features::Features;
use virtio_spec::{packed, split};

/// What is stored and loaded at once.
struct Word {
    value: AtomicU64,
    /// Present if the sides take turns with the word, by what else they tell each other. Then
    /// loom checks that they do: it does not itself let a load see what is stored later.
    turns: Option<UnsafeCell<()>>,
}

impl Word {
    fn new(in_turns: bool) -> Self {
        Self {
            value: AtomicU64::new(0),
            turns: in_turns.then(|| UnsafeCell::new(())),
        }
    }
}

/// An area, as words by offset, of whatever width they are used with.
#[derive(Clone)]
pub(crate) struct Area {
    words: Arc<HashMap<usize, Word>>,
    bytes: usize,
}

impl Area {
    /// Words that tell of others, and words that others tell of.
    fn new(bytes: usize, free: &[usize], in_turns: impl IntoIterator<Item = usize>) -> Self {
        let free = free.iter().map(|&at| (at, Word::new(false)));
        let in_turns = in_turns.into_iter().map(|at| (at, Word::new(true)));
        Self {
            words: Arc::new(free.chain(in_turns).collect()),
            bytes,
        }
    }

    fn load(&self, at: usize) -> u64 {
        let word = &self.words[&at];
        if let Some(turns) = &word.turns {
            turns.with(|_| ());
        }
        word.value.load(Relaxed)
    }

    fn store(&self, at: usize, value: u64) {
        let word = &self.words[&at];
        if let Some(turns) = &word.turns {
            turns.with_mut(|_| ());
        }
        word.value.store(value, Relaxed);
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
        self.words[&at].value.load(Acquire) as u16
    }

    fn load32(&self, at: usize) -> u32 {
        self.load(at) as u32
    }

    fn load64(&self, at: usize) -> u64 {
        self.load(at)
    }

    fn load64_acquire(&self, at: usize) -> u64 {
        self.words[&at].value.load(Acquire)
    }

    fn store16(&self, at: usize, value: u16) {
        self.store(at, value.into());
    }

    fn store16_release(&self, at: usize, value: u16) {
        self.words[&at].value.store(value.into(), Release);
    }

    fn store32(&self, at: usize, value: u32) {
        self.store(at, value.into());
    }

    fn store64(&self, at: usize, value: u64) {
        self.store(at, value);
    }

    fn store64_release(&self, at: usize, value: u64) {
        self.words[&at].value.store(value, Release);
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

fn split_areas(size: u16) -> Areas<Area> {
    let descriptors = elements(2 * size, 0, 8);
    let available = elements(size, split::RING, split::AVAILABLE);
    let used = elements(2 * size, split::RING, split::USED / 2);
    let heads = |event| [split::FLAGS, split::INDEX, event];
    Areas {
        descriptors: Area::new(split::descriptor_area(size), &[], descriptors),
        driver: Area::new(
            split::driver_area(size),
            &heads(split::used_event(size)),
            available,
        ),
        device: Area::new(
            split::device_area(size),
            &heads(split::avail_event(size)),
            used,
        ),
    }
}

fn packed_areas(size: u16) -> Areas<Area> {
    let addresses = elements(size, 0, packed::DESCRIPTOR);
    let rest: Vec<usize> = elements(size, 8, packed::DESCRIPTOR).collect();
    let event = || Area::new(packed::EVENT, &[0], []);
    Areas {
        descriptors: Area::new(packed::descriptor_area(size), &rest, addresses),
        driver: event(),
        device: event(),
    }
}

/// The driver's side, whose buffers are one segment each, with an address that is the token.
pub(crate) struct Driver(driver::Ring<Area, Vec<Slot<u64>>>);

/// The device's side, which writes as many bytes as the address says.
pub(crate) struct Device(device::Ring<Area>);

/// Both sides of a new queue.
pub(crate) fn queue(size: u16, features: Features) -> (Driver, Device) {
    let areas = match features.has(Features::RING_PACKED) {
        true => packed_areas(size),
        false => split_areas(size),
    };
    let others = Areas {
        descriptors: areas.descriptors.clone(),
        driver: areas.driver.clone(),
        device: areas.device.clone(),
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

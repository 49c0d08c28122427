// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Both sides of a ring, and beside them what each must say: queues of buffers, and flags.

mod asked;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use virtio_ring::device::{self, Chain, Tables};
use virtio_ring::driver::{self, Refused, Settings, Slot, Table, Used};
use virtio_ring::memory::{Areas, Memory};
use virtio_ring::segment::Segment;
use virtio_spec::features::Features;
use virtio_spec::{packed, split};

use crate::area::Area;
use asked::Asked;

/// Indirect tables by address.
#[derive(Default)]
pub(crate) struct TableMemory(RefCell<BTreeMap<u64, Area>>);

impl Tables for TableMemory {
    fn descriptor(&self, address: u64) -> Option<[u64; 2]> {
        let tables = self.0.borrow();
        let (start, table) = tables.range(..=address).next_back()?;
        let at = (address - start) as usize;
        (at + 16 <= table.bytes()).then(|| table.load64_pair(at))
    }
}

/// A buffer, wherever it is.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    readable: Vec<Segment>,
    writable: Vec<Segment>,
    is_indirect: bool,
    token: u32,
}

impl Buffer {
    fn descriptors(&self) -> usize {
        match self.is_indirect {
            true => 1,
            false => self.readable.len() + self.writable.len(),
        }
    }

    fn room(&self) -> u32 {
        self.writable.iter().map(|segment| segment.length).sum()
    }
}

pub(crate) struct Pair {
    pub(crate) driver: driver::Ring<Area, Vec<Slot<u32>>>,
    pub(crate) device: device::Ring<Area>,
    settings: Settings,
    areas: Areas<Area>,
    tables: TableMemory,
    added: VecDeque<Buffer>,
    available: VecDeque<Buffer>,
    in_device: VecDeque<(Chain, Buffer)>,
    completed: VecDeque<(Buffer, u32)>,
    used: VecDeque<(Buffer, u32)>,
    free: usize,
    tokens: u32,
    notifications: Asked,
    interrupts: Asked,
}

/// The areas of a queue.
fn areas(settings: &Settings) -> Areas<Area> {
    let size = settings.size;
    let [descriptors, driver, device] = match settings.features.has(Features::RING_PACKED) {
        true => [packed::descriptor_area(size), packed::EVENT, packed::EVENT],
        false => [
            split::descriptor_area(size),
            split::driver_area(size),
            split::device_area(size),
        ],
    }
    .map(Area::new);
    Areas {
        descriptors,
        driver,
        device,
    }
}

/// The same areas, for another side.
fn share(areas: &Areas<Area>) -> Areas<Area> {
    Areas {
        descriptors: areas.descriptors.clone(),
        driver: areas.driver.clone(),
        device: areas.device.clone(),
    }
}

/// What both sides ask for when the driver has cleared both areas: everything, or the first.
fn asked_at_first(features: Features) -> Asked {
    let is_packed = features.has(Features::RING_PACKED);
    match features.has(Features::EVENT_IDX) && !is_packed {
        true => Asked::After(0),
        false => Asked::Everything,
    }
}

impl Pair {
    pub(crate) fn new(size: u16, features: Features) -> Self {
        let settings = Settings {
            queue: 5,
            size,
            features,
        };
        let areas = areas(&settings);
        let slots = (0..size).map(|_| Slot::new()).collect();
        Self {
            driver: driver::Ring::new(settings, share(&areas), slots).unwrap(),
            device: device::Ring::new(settings, share(&areas)).unwrap(),
            areas,
            settings,
            tables: TableMemory::default(),
            added: VecDeque::new(),
            available: VecDeque::new(),
            in_device: VecDeque::new(),
            completed: VecDeque::new(),
            used: VecDeque::new(),
            free: size.into(),
            tokens: 0,
            notifications: asked_at_first(features),
            interrupts: asked_at_first(features),
        }
    }

    fn is_packed(&self) -> bool {
        self.settings.features.has(Features::RING_PACKED)
    }

    /// Adds a buffer with these lengths, if it fits.
    pub(crate) fn add(&mut self, readable: &[u32], writable: &[u32], is_indirect: bool) {
        self.tokens += 1;
        let base = u64::from(self.tokens) << 32;
        let segments = |lengths: &[u32], from: u64| {
            let numbered = (from..).zip(lengths);
            let segment = |(number, &length): (u64, &u32)| Segment {
                address: base + (number << 16),
                length,
            };
            numbered.map(segment).collect::<Vec<_>>()
        };
        let buffer = Buffer {
            readable: segments(readable, 0),
            writable: segments(writable, readable.len() as u64),
            is_indirect,
            token: self.tokens,
        };
        let count = readable.len() + writable.len();
        let refused = self.offer(&buffer);
        let free = self.free;
        match refused {
            None => {
                assert!(buffer.descriptors() <= free, "more than there is room for");
                self.free -= buffer.descriptors();
                self.added.push_back(buffer);
            }
            Some(Refused::Full { needed, free: left }) => {
                assert_eq!(usize::from(left), free);
                assert_eq!(usize::from(needed), buffer.descriptors());
                assert!(buffer.descriptors() > free);
            }
            Some(Refused::Segments(segments)) => {
                assert_eq!(segments, count);
                assert!(count == 0 || count > self.settings.size.into());
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(usize::from(self.driver.free()), self.free);
    }

    fn offer(&mut self, buffer: &Buffer) -> Option<Refused> {
        let token = buffer.token;
        let (readable, writable) = (&buffer.readable[..], &buffer.writable[..]);
        let added = if buffer.is_indirect {
            let memory = Area::new(16 * (readable.len() + writable.len()));
            let address = 0x10_0000 * u64::from(token);
            let table = Table {
                memory: &memory,
                address,
            };
            let added = self.driver.add_indirect(table, readable, writable, token);
            self.tables.0.borrow_mut().insert(address, memory);
            added
        } else {
            self.driver.add(readable, writable, token)
        };
        added.err().map(|(refused, returned)| {
            assert_eq!(returned, token);
            refused
        })
    }

    pub(crate) fn publish(&mut self) {
        let notification = self.driver.publish();
        if self.added.is_empty() {
            assert_eq!(notification, None);
        } else {
            let is_packed = self.is_packed();
            let events = self.added.len();
            self.notifications
                .check(events, notification.is_some(), is_packed);
            self.available.append(&mut self.added);
        }
    }

    pub(crate) fn device_pop(&mut self) {
        // No buffer here has more.
        let mut segments = [Segment::default(); 8];
        let chain = self.device.pop(&self.tables, &mut segments).unwrap();
        match (chain, self.available.pop_front()) {
            (None, None) => {}
            (Some(chain), Some(buffer)) => {
                let (readable, rest) = segments.split_at(chain.readable);
                assert_eq!(readable, buffer.readable);
                assert_eq!(rest[..chain.writable], buffer.writable);
                assert_eq!(chain.room, buffer.room());
                self.in_device.push_back((chain, buffer));
            }
            (chain, buffer) => panic!("{chain:?}, but it is {buffer:?}"),
        }
    }

    /// Completes one of the buffers that the device has, in full or not.
    pub(crate) fn complete(&mut self, which: usize, is_full: bool) {
        let in_order = self.settings.features.has(Features::IN_ORDER);
        let Some(last) = self.in_device.len().checked_sub(1) else {
            return;
        };
        let which = if in_order { 0 } else { which.min(last) };
        let Some((chain, buffer)) = self.in_device.remove(which) else {
            return;
        };
        let length = if is_full { chain.room } else { chain.room / 2 };
        self.device.complete(chain, length);
        self.completed.push_back((buffer, length));
    }

    pub(crate) fn device_publish(&mut self) {
        let is_told = self.device.publish();
        if self.completed.is_empty() {
            assert!(!is_told);
        } else {
            let is_packed = self.is_packed();
            let events = self.completed.len();
            self.interrupts.check(events, is_told, is_packed);
            self.used.append(&mut self.completed);
        }
    }

    pub(crate) fn pop(&mut self) {
        let expected = self.used.pop_front().map(|(buffer, length)| {
            self.free += buffer.descriptors();
            Used {
                token: buffer.token,
                length,
            }
        });
        assert_eq!(self.driver.pop(), Ok(expected));
        assert_eq!(usize::from(self.driver.free()), self.free);
    }

    /// Switches interrupts off, or on after so many buffers.
    pub(crate) fn want_interrupts(&mut self, after: Option<u16>) {
        let Some(after) = after else {
            self.driver.disable_interrupts();
            self.interrupts = Asked::Nothing;
            return;
        };
        // No more than there are: a later event would not come.
        let after = after.min(self.settings.size - 1);
        let is_late = self.driver.enable_interrupts_after(after);
        assert_eq!(is_late, !self.used.is_empty());
        self.interrupts = self.asked(after.into(), self.used.len());
    }

    /// Switches notifications on or off.
    pub(crate) fn want_notifications(&mut self, wanted: bool) {
        if wanted {
            let is_late = self.device.enable_notifications();
            assert_eq!(is_late, !self.available.is_empty());
            self.notifications = self.asked(0, self.available.len());
        } else {
            self.device.disable_notifications();
            self.notifications = Asked::Nothing;
        }
    }

    /// What a side has asked for that enabled events after `others`, and `late` were there.
    fn asked(&self, others: usize, late: usize) -> Asked {
        match others.checked_sub(late) {
            _ if !self.settings.features.has(Features::EVENT_IDX) => Asked::Everything,
            // Those that are late may have several descriptors.
            _ if self.is_packed() && late > 0 => Asked::Perhaps,
            Some(others) => Asked::After(others),
            None => Asked::passed(self.is_packed()),
        }
    }

    /// Resets both sides; the driver gets back what it had added, and all begins anew.
    pub(crate) fn reset(&mut self) {
        let mut lost = Vec::new();
        self.driver.reset(|token| lost.push(token));
        self.device = device::Ring::new(self.settings, share(&self.areas)).unwrap();
        let with_driver = self.added.drain(..).chain(self.available.drain(..));
        let with_device = self.in_device.drain(..).map(|(_, buffer)| buffer);
        let back = self.completed.drain(..).chain(self.used.drain(..));
        let all = with_driver.chain(with_device);
        let all = all.chain(back.map(|(buffer, _)| buffer));
        let mut expected: Vec<u32> = all.map(|buffer| buffer.token).collect();
        lost.sort_unstable();
        expected.sort_unstable();
        assert_eq!(lost, expected);
        self.free = self.settings.size.into();
        self.notifications = asked_at_first(self.settings.features);
        self.interrupts = self.notifications;
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A virtio-blk driver as small as can be, over anything that carries register accesses.
//!
//! It behaves as Linux's: an interrupt makes it read `InterruptStatus`, acknowledge what it
//! found there, and look at the used ring only if there was something.

use shunt::guest_area::GuestArea;
use virtio_ring::driver::{Ring, Settings, Slot};
use virtio_ring::memory::Areas;
use virtio_ring::segment::Segment;
use virtio_spec::features::Features;
use virtio_spec::mmio;
use virtio_spec::{packed, split};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

pub(crate) const QUEUE_SIZE: u16 = 32;
pub(crate) const SECTOR: usize = 512;
pub(crate) const MEMORY_SIZE: usize = 1 << 20;

const DESCRIPTORS: u64 = 0x1000;
const DRIVER_AREA: u64 = 0x2000;
const DEVICE_AREA: u64 = 0x3000;
const HEADERS: u64 = 0x4000;
const STATUSES: u64 = 0x5000;
const BUFFERS: u64 = 0x10000;
const BUFFER_SIZE: u64 = 0x1000;

/// Requests that can be in flight: three descriptors each.
pub(crate) const SLOTS: u16 = 10;

/// What the driver needs of a machine.
pub(crate) trait Machine {
    fn read(&mut self, register: usize) -> u32;
    fn write(&mut self, register: usize, value: u32);
    /// Waits for an interrupt.
    fn wait_interrupt(&mut self);
    fn memory(&self) -> &GuestMemoryMmap;
}

/// A request and, for a read, what the disk must hold there.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Write {
        sector: u64,
        fill: u8,
        sectors: usize,
    },
    Read {
        sector: u64,
        want: u8,
        sectors: usize,
    },
    Flush,
}

pub(crate) struct Driver<M> {
    pub(crate) machine: M,
    /// The token is the slot.
    ring: Ring<GuestArea, Vec<Slot<u16>>>,
    submitted: u16,
    in_flight: Vec<Request>,
}

/// The queue in the driver's memory.
fn ring(memory: &GuestMemoryMmap, features: Features) -> Ring<GuestArea, Vec<Slot<u16>>> {
    let size = QUEUE_SIZE;
    let [descriptors, driver, device] = match features.has(Features::RING_PACKED) {
        true => [packed::descriptor_area(size), packed::EVENT, packed::EVENT],
        false => [
            split::descriptor_area(size),
            split::driver_area(size),
            split::device_area(size),
        ],
    };
    let area = |address, bytes| GuestArea::new(memory, address, bytes, 16).unwrap();
    let areas = Areas {
        descriptors: area(DESCRIPTORS, descriptors),
        driver: area(DRIVER_AREA, driver),
        device: area(DEVICE_AREA, device),
    };
    let settings = Settings {
        queue: 0,
        size,
        features,
    };
    Ring::new(settings, areas, (0..size).map(|_| Slot::new()).collect()).unwrap()
}

impl<M: Machine> Driver<M> {
    /// Brings the device up with these features beside `VIRTIO_F_VERSION_1`.
    pub(crate) fn start(mut machine: M, features: Features) -> Self {
        assert_eq!(machine.read(mmio::MAGIC_VALUE), mmio::MAGIC);
        assert_eq!(machine.read(mmio::VERSION), mmio::MODERN);
        assert_eq!(machine.read(mmio::DEVICE_ID), 2);
        machine.write(mmio::STATUS, 0);
        machine.write(mmio::STATUS, 3);
        let features = features.with(Features::VERSION_1);
        let bits = features.bits();
        for (half, value) in [(0, bits as u32), (1, (bits >> 32) as u32)] {
            machine.write(mmio::DRIVER_FEATURES_SEL, half);
            machine.write(mmio::DRIVER_FEATURES, value);
        }
        machine.write(mmio::STATUS, 11);
        assert_eq!(machine.read(mmio::STATUS), 11, "features refused");
        let ring = ring(machine.memory(), features);
        machine.write(mmio::QUEUE_SEL, 0);
        machine.write(mmio::QUEUE_NUM, QUEUE_SIZE.into());
        machine.write(mmio::QUEUE_DESC_LOW, DESCRIPTORS as u32);
        machine.write(mmio::QUEUE_DRIVER_LOW, DRIVER_AREA as u32);
        machine.write(mmio::QUEUE_DEVICE_LOW, DEVICE_AREA as u32);
        machine.write(mmio::QUEUE_READY, 1);
        assert_eq!(machine.read(mmio::QUEUE_READY), 1);
        machine.write(mmio::STATUS, 15);
        Self {
            machine,
            ring,
            submitted: 0,
            in_flight: Vec::new(),
        }
    }

    /// Makes requests available, at most [`SLOTS`] before they are completed; the device does
    /// not know yet.
    pub(crate) fn submit(&mut self, requests: &[Request]) {
        for request in requests {
            assert!(self.in_flight.len() < SLOTS.into());
            let slot = self.submitted % SLOTS;
            let [header, data, status] = self.build(slot.into(), request);
            let (readable, writable) = match request {
                Request::Read { .. } => (vec![header], vec![data, status]),
                Request::Write { .. } => (vec![header, data], vec![status]),
                Request::Flush => (vec![header], vec![status]),
            };
            self.ring.add(&readable, &writable, slot).unwrap();
            self.submitted = self.submitted.wrapping_add(1);
            self.in_flight.push(request.clone());
        }
        // The device is told at any rate.
        let _ = self.ring.publish();
    }

    /// Tells the device.
    pub(crate) fn notify(&mut self) {
        self.machine.write(mmio::QUEUE_NOTIFY, 0);
    }

    /// Waits until all requests are complete, and checks each.
    pub(crate) fn finish(&mut self) {
        while !self.in_flight.is_empty() {
            self.machine.wait_interrupt();
            let causes = self.machine.read(mmio::INTERRUPT_STATUS);
            if causes != 0 {
                self.machine.write(mmio::INTERRUPT_ACK, causes);
            }
            if causes & mmio::interrupt::QUEUE != 0 {
                self.take_completions();
            }
        }
    }

    /// Whether all that the device has completed was taken note of.
    pub(crate) fn is_idle(&mut self) -> bool {
        self.in_flight.is_empty() && self.ring.pop() == Ok(None)
    }

    fn take_completions(&mut self) {
        loop {
            while let Some(used) = self.ring.pop().unwrap() {
                let request = self.in_flight.remove(0);
                self.check(used.token.into(), &request);
                assert_eq!(used.length, request.written(), "length of {request:?}");
            }
            if !self.ring.enable_interrupts() {
                return;
            }
        }
    }

    fn check(&self, slot: u64, request: &Request) {
        let status: u8 = self.get(STATUSES + slot);
        assert_eq!(status, 0, "status of {request:?}");
        if let Request::Read { want, sectors, .. } = request {
            let mut data = vec![0; sectors * SECTOR];
            let at = GuestAddress(BUFFERS + BUFFER_SIZE * slot);
            self.machine.memory().read_slice(&mut data, at).unwrap();
            let is_right = data.iter().all(|b| b == want);
            assert!(is_right, "data of {request:?}: {}", data[0]);
        }
    }

    /// Header, data and status.
    fn build(&self, slot: u64, request: &Request) -> [Segment; 3] {
        let header = HEADERS + 16 * slot;
        let buffer = BUFFERS + BUFFER_SIZE * slot;
        let status = STATUSES + slot;
        let (kind, sector, length) = match *request {
            Request::Read {
                sector, sectors, ..
            } => (0u32, sector, sectors * SECTOR),
            Request::Write {
                sector,
                fill,
                sectors,
            } => {
                let data = vec![fill; sectors * SECTOR];
                let at = GuestAddress(buffer);
                self.machine.memory().write_slice(&data, at).unwrap();
                (1, sector, data.len())
            }
            Request::Flush => (4, 0, 0),
        };
        self.put(header, kind);
        self.put(header + 8, sector);
        self.put(status, 0xffu8);
        let segment = |address, length| Segment { address, length };
        [
            segment(header, 16),
            segment(buffer, length as u32),
            segment(status, 1),
        ]
    }

    fn put<T: vm_memory::ByteValued>(&self, at: u64, value: T) {
        self.machine
            .memory()
            .write_obj(value, GuestAddress(at))
            .unwrap();
    }

    fn get<T: vm_memory::ByteValued>(&self, at: u64) -> T {
        self.machine.memory().read_obj(GuestAddress(at)).unwrap()
    }
}

impl Request {
    /// Bytes that the device writes for it.
    fn written(&self) -> u32 {
        match self {
            Self::Read { sectors, .. } => (sectors * SECTOR) as u32 + 1,
            _ => 1,
        }
    }
}

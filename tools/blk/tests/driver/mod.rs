// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A virtio-blk driver as small as can be, over anything that carries register accesses.
//!
//! It behaves as Linux's: an interrupt makes it read `InterruptStatus`, acknowledge what it
//! found there, and look at the used ring only if there was something.

use std::sync::atomic::Ordering;

use virtio_bindings::virtio_mmio::*;
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

const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// What the driver needs of a machine.
pub(crate) trait Machine {
    fn read(&mut self, register: u32) -> u32;
    fn write(&mut self, register: u32, value: u32);
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
    /// Available and used index; the driver's own.
    submitted: u16,
    completed: u16,
    in_flight: Vec<Request>,
}

impl<M: Machine> Driver<M> {
    /// Brings the device up with these features beside `VIRTIO_F_VERSION_1`.
    pub(crate) fn start(mut machine: M, features: u64) -> Self {
        assert_eq!(machine.read(VIRTIO_MMIO_MAGIC_VALUE), 0x7472_6976);
        assert_eq!(machine.read(VIRTIO_MMIO_VERSION), 2);
        assert_eq!(machine.read(VIRTIO_MMIO_DEVICE_ID), 2);
        machine.write(VIRTIO_MMIO_STATUS, 0);
        machine.write(VIRTIO_MMIO_STATUS, 3);
        let features = features | 1 << 32;
        for (half, value) in [(0, features as u32), (1, (features >> 32) as u32)] {
            machine.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
            machine.write(VIRTIO_MMIO_DRIVER_FEATURES, value);
        }
        machine.write(VIRTIO_MMIO_STATUS, 11);
        assert_eq!(machine.read(VIRTIO_MMIO_STATUS), 11, "features refused");
        machine.write(VIRTIO_MMIO_QUEUE_SEL, 0);
        machine.write(VIRTIO_MMIO_QUEUE_NUM, QUEUE_SIZE.into());
        machine.write(VIRTIO_MMIO_QUEUE_DESC_LOW, DESCRIPTORS as u32);
        machine.write(VIRTIO_MMIO_QUEUE_AVAIL_LOW, DRIVER_AREA as u32);
        machine.write(VIRTIO_MMIO_QUEUE_USED_LOW, DEVICE_AREA as u32);
        machine.write(VIRTIO_MMIO_QUEUE_READY, 1);
        assert_eq!(machine.read(VIRTIO_MMIO_QUEUE_READY), 1);
        machine.write(VIRTIO_MMIO_STATUS, 15);
        Self {
            machine,
            submitted: 0,
            completed: 0,
            in_flight: Vec::new(),
        }
    }

    /// Makes requests available, at most [`SLOTS`] before they are completed; the device does
    /// not know yet.
    pub(crate) fn submit(&mut self, requests: &[Request]) {
        for request in requests {
            assert!(self.in_flight.len() < SLOTS.into());
            let slot = self.submitted % SLOTS;
            self.put(
                DRIVER_AREA + 4 + 2 * u64::from(self.submitted % QUEUE_SIZE),
                slot * 3,
            );
            self.build(slot.into(), request);
            self.submitted = self.submitted.wrapping_add(1);
            self.in_flight.push(request.clone());
        }
        // The device interrupts when this much is used, if it heeds such wishes.
        self.put(
            DRIVER_AREA + 4 + 2 * u64::from(QUEUE_SIZE),
            self.submitted.wrapping_sub(1),
        );
        let memory = self.machine.memory();
        memory
            .store(
                self.submitted,
                GuestAddress(DRIVER_AREA + 2),
                Ordering::Release,
            )
            .unwrap();
    }

    /// Tells the device.
    pub(crate) fn notify(&mut self) {
        self.machine.write(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    }

    /// Waits until all requests are complete, and checks each.
    pub(crate) fn finish(&mut self) {
        while !self.in_flight.is_empty() {
            self.machine.wait_interrupt();
            let causes = self.machine.read(VIRTIO_MMIO_INTERRUPT_STATUS);
            if causes != 0 {
                self.machine.write(VIRTIO_MMIO_INTERRUPT_ACK, causes);
            }
            if causes & VIRTIO_MMIO_INT_VRING != 0 {
                self.take_completions();
            }
        }
    }

    /// Requests that the device has completed, whether the driver took note or not.
    pub(crate) fn used_index(&self) -> u16 {
        let memory = self.machine.memory();
        memory
            .load(GuestAddress(DEVICE_AREA + 2), Ordering::Acquire)
            .unwrap()
    }

    fn take_completions(&mut self) {
        while self.completed != self.used_index() {
            let request = self.in_flight.remove(0);
            let slot = self.completed % SLOTS;
            let at = DEVICE_AREA + 4 + 8 * u64::from(self.completed % QUEUE_SIZE);
            let used: [u32; 2] = [self.get(at), self.get(at + 4)];
            let want = [u32::from(slot * 3), request.written()];
            assert_eq!(used, want, "used element {} of {request:?}", self.completed);
            assert_eq!(
                self.get::<u8>(STATUSES + u64::from(slot)),
                0,
                "status of {request:?}"
            );
            if let Request::Read { want, sectors, .. } = request {
                let mut data = vec![0; sectors * SECTOR];
                let at = GuestAddress(BUFFERS + BUFFER_SIZE * u64::from(slot));
                self.machine.memory().read_slice(&mut data, at).unwrap();
                assert!(
                    data.iter().all(|&b| b == want),
                    "data of {request:?}: {}",
                    data[0]
                );
            }
            self.completed = self.completed.wrapping_add(1);
        }
    }

    fn build(&self, slot: u64, request: &Request) {
        let header = HEADERS + 16 * slot;
        let buffer = BUFFERS + BUFFER_SIZE * slot;
        let status = STATUSES + slot;
        let (kind, sector, length, flags) = match *request {
            Request::Read {
                sector, sectors, ..
            } => (0u32, sector, sectors * SECTOR, WRITE | NEXT),
            Request::Write {
                sector,
                fill,
                sectors,
            } => {
                let data = vec![fill; sectors * SECTOR];
                self.machine
                    .memory()
                    .write_slice(&data, GuestAddress(buffer))
                    .unwrap();
                (1, sector, data.len(), NEXT)
            }
            Request::Flush => (4, 0, 0, NEXT),
        };
        self.put(header, kind);
        self.put(header + 8, sector);
        self.put(status, 0xffu8);
        let first = slot as u16 * 3;
        self.descriptor(first, header, 16, NEXT, first + 1);
        if length == 0 {
            return self.descriptor(first + 1, status, 1, WRITE, 0);
        }
        self.descriptor(first + 1, buffer, length as u32, flags, first + 2);
        self.descriptor(first + 2, status, 1, WRITE, 0);
    }

    fn descriptor(&self, index: u16, address: u64, length: u32, flags: u16, next: u16) {
        let at = DESCRIPTORS + 16 * u64::from(index);
        self.put(at, address);
        self.put(at + 8, length);
        self.put(at + 12, flags);
        self.put(at + 14, next);
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

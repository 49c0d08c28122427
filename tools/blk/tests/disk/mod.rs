// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A disk in this process, and a driver that builds its requests by hand.

use std::sync::atomic::Ordering;

use shunt::device::Device;
use shunt::state::StatePage;
use shunt::virtio_mmio::VirtioMmio;
use shunt::Width;
use shunt_blk::Blk;
use virtio_spec::mmio;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::EventFd;

pub(crate) const DESCRIPTORS: u64 = 0x1000;
pub(crate) const DRIVER_AREA: u64 = 0x2000;
pub(crate) const DEVICE_AREA: u64 = 0x3000;
pub(crate) const BUFFERS: u64 = 0x8000;
pub(crate) const SECTORS: u64 = 16;

pub(crate) const IN: u32 = 0;
pub(crate) const OUT: u32 = 1;
pub(crate) const FLUSH: u32 = 4;
pub(crate) const GET_ID: u32 = 8;

pub(crate) const OK: u8 = 0;
pub(crate) const IOERR: u8 = 1;
pub(crate) const UNSUPP: u8 = 2;

pub(crate) struct Disk {
    pub(crate) device: VirtioMmio<Blk>,
    pub(crate) memory: GuestMemoryMmap,
    pub(crate) state: StatePage,
    pub(crate) asked: u16,
    pub(crate) directory: tempfile::TempDir,
}

/// What came of a request.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) used: u32,
    pub(crate) status: u8,
    pub(crate) data: Vec<u8>,
}

impl Disk {
    /// Sector number n is full of n.
    pub(crate) fn new(read_only: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a-very-long-image-name.img");
        let content: Vec<u8> = (0..SECTORS * 512 + 100).map(|i| (i / 512) as u8).collect();
        std::fs::write(&path, content).unwrap();
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        let state = StatePage::create().unwrap();
        let blk = Blk::open(&path, read_only).unwrap();
        let interrupt = EventFd::new(libc::EFD_NONBLOCK).unwrap();
        let device = VirtioMmio::new(blk, memory.clone(), state.clone(), interrupt);
        let mut disk = Self {
            device,
            memory,
            state,
            asked: 0,
            directory,
        };
        disk.start();
        disk
    }

    pub(crate) fn start(&mut self) {
        for (register, value) in [
            (mmio::DRIVER_FEATURES_SEL, 1),
            (mmio::DRIVER_FEATURES, 1),
            (mmio::STATUS, 11),
            (mmio::QUEUE_NUM, 16),
            (mmio::QUEUE_DESC_LOW, DESCRIPTORS as u32),
            (mmio::QUEUE_DRIVER_LOW, DRIVER_AREA as u32),
            (mmio::QUEUE_DEVICE_LOW, DEVICE_AREA as u32),
            (mmio::QUEUE_READY, 1),
            (mmio::STATUS, 15),
        ] {
            self.device
                .write(register as u64, Width::Long, value.into());
        }
    }

    pub(crate) fn read(&mut self, register: usize) -> u64 {
        self.device.read(register as u64, Width::Long)
    }

    /// Asks, with these buffers to read and rooms to write, a descriptor each.
    pub(crate) fn ask_in(&mut self, readable: &[&[u8]], rooms: &[usize]) -> Answer {
        let mut at = BUFFERS;
        let count = readable.len() + rooms.len();
        let sizes = readable
            .iter()
            .map(|bytes| (bytes.len(), 0))
            .chain(rooms.iter().map(|&n| (n, 2)));
        for (index, (size, write)) in sizes.enumerate() {
            let next = if index + 1 < count { 1 } else { 0 };
            let descriptor = DESCRIPTORS + 16 * index as u64;
            self.memory.write_obj(at, GuestAddress(descriptor)).unwrap();
            self.memory
                .write_obj(size as u32, GuestAddress(descriptor + 8))
                .unwrap();
            self.memory
                .write_obj(write | next, GuestAddress(descriptor + 12))
                .unwrap();
            self.memory
                .write_obj(index as u16 + 1, GuestAddress(descriptor + 14))
                .unwrap();
            let fill = readable
                .get(index)
                .map_or(vec![0xee; size], |bytes| bytes.to_vec());
            self.memory.write_slice(&fill, GuestAddress(at)).unwrap();
            at += 0x1000;
        }
        self.asked += 1;
        self.memory
            .store(self.asked, GuestAddress(DRIVER_AREA + 2), Ordering::Release)
            .unwrap();
        self.device.write(mmio::QUEUE_NOTIFY as u64, Width::Long, 0);
        while self.device.work() {}
        self.answer(readable.len(), rooms)
    }

    pub(crate) fn answer(&self, first_room: usize, rooms: &[usize]) -> Answer {
        let used: u16 = self.memory.read_obj(GuestAddress(DEVICE_AREA + 2)).unwrap();
        assert_eq!(used, self.asked);
        let element = DEVICE_AREA + 4 + 8 * (u64::from(used - 1) % 16);
        let mut data = Vec::new();
        for (index, size) in (first_room..).zip(rooms) {
            let mut room = vec![0; *size];
            let at = GuestAddress(BUFFERS + 0x1000 * index as u64);
            self.memory.read_slice(&mut room, at).unwrap();
            data.extend(room);
        }
        Answer {
            used: self.memory.read_obj(GuestAddress(element + 4)).unwrap(),
            status: data.pop().unwrap(),
            data,
        }
    }

    /// Asks as Linux does: header, data, status, each in its own descriptor.
    pub(crate) fn ask(&mut self, kind: u32, sector: u64, data: &[u8], room: usize) -> Answer {
        let header = header(kind, sector);
        let readable: &[&[u8]] = if data.is_empty() {
            &[&header]
        } else {
            &[&header, data]
        };
        let rooms: &[usize] = if room == 0 { &[1] } else { &[room, 1] };
        self.ask_in(readable, rooms)
    }

    pub(crate) fn image(&self) -> Vec<u8> {
        std::fs::read(self.directory.path().join("a-very-long-image-name.img")).unwrap()
    }
}

pub(crate) fn header(kind: u32, sector: u64) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat()
}

pub(crate) fn ok(used: u32, data: Vec<u8>) -> Answer {
    Answer {
        used,
        status: OK,
        data,
    }
}

pub(crate) fn failed(status: u8, room: usize) -> Answer {
    Answer {
        used: u32::from(room == 0),
        status,
        data: vec![0xee; room],
    }
}

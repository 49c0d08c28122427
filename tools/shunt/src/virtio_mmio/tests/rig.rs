// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A device with memory around it, and the moves of a driver.

use vm_memory::{Bytes, GuestAddress};

use crate::chain::{BadChain, Chain};
use crate::counters::Counters;
use crate::device::Device;
use crate::virtio_device::OPTIONAL_FEATURES;
use crate::virtio_mmio::*;
use crate::Width;

pub(super) const MEMORY_SIZE: usize = 0x10000;
pub(super) const DESCRIPTORS: u64 = 0x1000;
pub(super) const DRIVER_AREA: u64 = 0x2000;
pub(super) const DEVICE_AREA: u64 = 0x3000;
pub(super) const BUFFER: u64 = 0x4000;
pub(super) const MAX_SIZE: u16 = 16;

pub(super) const NEXT: u16 = 1;
pub(super) const WRITE: u16 = 2;
pub(super) const INDIRECT: u16 = 4;

pub(super) const STARTED: u32 = 15;
pub(super) const NEEDS_RESET: u32 = status::DEVICE_NEEDS_RESET as u32;

/// Features from bit 32 on: `VIRTIO_F_VERSION_1`, and what the device leaves to choose.
pub(super) const UPPER_FEATURES: u32 = 1 | 1 << 2 | 1 << 3 | 1 << 6;

/// Its answer is its question; the configuration space is eight bytes to write.
#[derive(Debug, Default)]
pub(super) struct Echo {
    pub(super) config: [u8; 8],
    /// Says so when it is asked.
    pub(super) config_changed: bool,
    /// Says so when it is asked.
    pub(super) must_reset: bool,
}

impl VirtioDevice for Echo {
    fn device_id(&self) -> u32 {
        42
    }

    fn features(&self) -> u64 {
        1 << 3 | OPTIONAL_FEATURES.bits()
    }

    fn queue_sizes(&self) -> &[u16] {
        &[MAX_SIZE, 4]
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        for (byte, value) in data
            .iter_mut()
            .zip(self.config.iter().skip(offset as usize))
        {
            *byte = *value;
        }
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) {
        for (byte, value) in self.config.iter_mut().skip(offset as usize).zip(data) {
            *byte = *value;
        }
    }

    fn take_config_change(&mut self) -> bool {
        std::mem::take(&mut self.config_changed)
    }

    fn must_reset(&mut self) -> bool {
        std::mem::take(&mut self.must_reset)
    }

    fn handle(&mut self, _queue: usize, chain: &Chain<'_>, _: &Counters) -> Result<u32, BadChain> {
        let mut bytes = vec![0; chain.readable().len() as usize];
        chain.readable().copy_to(0, &mut bytes)?;
        chain.writable().copy_from(0, &bytes)?;
        Ok(bytes.len() as u32)
    }
}

pub(super) struct Rig {
    pub(super) transport: VirtioMmio<Echo>,
    interrupt: EventFd,
}

impl Rig {
    pub(super) fn new() -> Self {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY_SIZE)]).unwrap();
        Self::on(memory, StatePage::create().unwrap())
    }

    pub(super) fn on(memory: GuestMemoryMmap, state: StatePage) -> Self {
        let interrupt = EventFd::new(libc::EFD_NONBLOCK).unwrap();
        let line = interrupt.try_clone().unwrap();
        Self {
            transport: VirtioMmio::new(Echo::default(), memory, state, line),
            interrupt,
        }
    }

    /// What a new process finds after this one died.
    pub(super) fn restarted(self) -> Self {
        Self::on(self.transport.memory, self.transport.state)
    }

    /// What a guest reads in memory.
    pub(super) fn shadow(&self, register: usize) -> u32 {
        let shadow = self.transport.state.shadow();
        shadow.load(register as u64, Width::Long) as u32
    }

    pub(super) fn read(&mut self, register: usize) -> u32 {
        self.transport.read(register as u64, Width::Long) as u32
    }

    pub(super) fn write(&mut self, register: usize, value: u32) {
        self.transport
            .write(register as u64, Width::Long, value.into());
    }

    pub(super) fn status(&mut self) -> u32 {
        self.read(mmio::STATUS)
    }

    pub(super) fn accept_features(&mut self, features: u64) {
        self.write(mmio::STATUS, 3);
        for (half, value) in [(0, features as u32), (1, (features >> 32) as u32)] {
            self.write(mmio::DRIVER_FEATURES_SEL, half);
            self.write(mmio::DRIVER_FEATURES, value);
        }
        self.write(mmio::STATUS, 11);
    }

    pub(super) fn set_up_queue(&mut self, size: u32, areas: [u64; 3]) {
        let [descriptors, driver, device] = areas;
        self.write(mmio::QUEUE_SEL, 0);
        self.write(mmio::QUEUE_NUM, size);
        for (register, address) in [
            (mmio::QUEUE_DESC_LOW, descriptors),
            (mmio::QUEUE_DRIVER_LOW, driver),
            (mmio::QUEUE_DEVICE_LOW, device),
        ] {
            self.write(register, address as u32);
            self.write(register + 4, (address >> 32) as u32);
        }
        self.write(mmio::QUEUE_READY, 1);
    }

    pub(super) fn start(&mut self, features: u64) {
        self.accept_features(Features::VERSION_1.bits() | features);
        self.set_up_queue(MAX_SIZE.into(), [DESCRIPTORS, DRIVER_AREA, DEVICE_AREA]);
        self.write(mmio::STATUS, STARTED);
        assert_eq!(self.status(), STARTED);
    }

    pub(super) fn put<T: vm_memory::ByteValued>(&self, at: u64, value: T) {
        self.transport
            .memory
            .write_obj(value, GuestAddress(at))
            .unwrap();
    }

    pub(super) fn get<T: vm_memory::ByteValued>(&self, at: u64) -> T {
        self.transport.memory.read_obj(GuestAddress(at)).unwrap()
    }

    pub(super) fn descriptor(&self, at: u64, address: u64, length: u32, flags: u16, next: u16) {
        self.put(at, address);
        self.put(at + 8, length);
        self.put(at + 12, flags);
        self.put(at + 14, next);
    }

    /// Makes the chain that begins at `head` available as number `index`.
    pub(super) fn avail(&self, index: u16, head: u16) {
        self.put(DRIVER_AREA + 4 + 2 * u64::from(index % MAX_SIZE), head);
        self.put(DRIVER_AREA + 2, index.wrapping_add(1));
    }

    /// Six bytes to echo, in descriptors 0 and 1.
    pub(super) fn question(&self) {
        self.transport
            .memory
            .write_slice(b"hello!", GuestAddress(BUFFER))
            .unwrap();
        self.descriptor(DESCRIPTORS, BUFFER, 6, NEXT, 1);
        self.descriptor(DESCRIPTORS + 16, BUFFER + 0x100, 64, WRITE, 0);
    }

    pub(super) fn notify_and_work(&mut self) {
        self.write(mmio::QUEUE_NOTIFY, 0);
        while self.transport.work() {}
    }

    pub(super) fn used_index(&self) -> u16 {
        self.get(DEVICE_AREA + 2)
    }

    pub(super) fn interrupted(&self) -> bool {
        self.interrupt.read().is_ok()
    }
}

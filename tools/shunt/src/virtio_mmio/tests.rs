// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The transport under a well-behaved driver, and the rig for the others.

mod hostile;

use virtio_bindings::virtio_mmio::*;
use vm_memory::{Bytes, GuestAddress};

use super::*;
use crate::chain::{BadChain, Chain};
use crate::counters::Counters;
use crate::device::Device;
use crate::Width;

const MEMORY_SIZE: usize = 0x10000;
const DESCRIPTORS: u64 = 0x1000;
const DRIVER_AREA: u64 = 0x2000;
const DEVICE_AREA: u64 = 0x3000;
const BUFFER: u64 = 0x4000;
const MAX_SIZE: u16 = 16;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

const STARTED: u32 = 15;
const NEEDS_RESET: u32 = VIRTIO_CONFIG_S_NEEDS_RESET;

/// Its answer is its question; the configuration space is eight bytes to write.
#[derive(Debug, Default)]
struct Echo {
    config: [u8; 8],
}

impl VirtioDevice for Echo {
    fn device_id(&self) -> u32 {
        42
    }

    fn features(&self) -> u64 {
        1 << 3
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

    fn handle(&mut self, _queue: usize, chain: &Chain<'_>, _: &Counters) -> Result<u32, BadChain> {
        let mut bytes = vec![0; chain.readable().len() as usize];
        chain.readable().copy_to(0, &mut bytes)?;
        chain.writable().copy_from(0, &bytes)?;
        Ok(bytes.len() as u32)
    }
}

struct Rig {
    transport: VirtioMmio<Echo>,
    interrupt: EventFd,
}

impl Rig {
    fn new() -> Self {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY_SIZE)]).unwrap();
        Self::on(memory, StatePage::create().unwrap())
    }

    fn on(memory: GuestMemoryMmap, state: StatePage) -> Self {
        let interrupt = EventFd::new(libc::EFD_NONBLOCK).unwrap();
        let line = interrupt.try_clone().unwrap();
        Self {
            transport: VirtioMmio::new(Echo::default(), memory, state, line),
            interrupt,
        }
    }

    /// What a new process finds after this one died.
    fn restarted(self) -> Self {
        Self::on(self.transport.memory, self.transport.state)
    }

    fn read(&mut self, register: u32) -> u32 {
        self.transport.read(register.into(), Width::Long) as u32
    }

    fn write(&mut self, register: u32, value: u32) {
        self.transport
            .write(register.into(), Width::Long, value.into());
    }

    fn status(&mut self) -> u32 {
        self.read(VIRTIO_MMIO_STATUS)
    }

    fn accept_features(&mut self, features: u64) {
        self.write(VIRTIO_MMIO_STATUS, 3);
        for (half, value) in [(0, features as u32), (1, (features >> 32) as u32)] {
            self.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
            self.write(VIRTIO_MMIO_DRIVER_FEATURES, value);
        }
        self.write(VIRTIO_MMIO_STATUS, 11);
    }

    fn set_up_queue(&mut self, size: u32, areas: [u64; 3]) {
        let [descriptors, driver, device] = areas;
        self.write(VIRTIO_MMIO_QUEUE_SEL, 0);
        self.write(VIRTIO_MMIO_QUEUE_NUM, size);
        for (register, address) in [
            (VIRTIO_MMIO_QUEUE_DESC_LOW, descriptors),
            (VIRTIO_MMIO_QUEUE_AVAIL_LOW, driver),
            (VIRTIO_MMIO_QUEUE_USED_LOW, device),
        ] {
            self.write(register, address as u32);
            self.write(register + 4, (address >> 32) as u32);
        }
        self.write(VIRTIO_MMIO_QUEUE_READY, 1);
    }

    fn start(&mut self, features: u64) {
        self.accept_features(1 << VIRTIO_F_VERSION_1 | features);
        self.set_up_queue(MAX_SIZE.into(), [DESCRIPTORS, DRIVER_AREA, DEVICE_AREA]);
        self.write(VIRTIO_MMIO_STATUS, STARTED);
        assert_eq!(self.status(), STARTED);
    }

    fn put<T: vm_memory::ByteValued>(&self, at: u64, value: T) {
        self.transport
            .memory
            .write_obj(value, GuestAddress(at))
            .unwrap();
    }

    fn get<T: vm_memory::ByteValued>(&self, at: u64) -> T {
        self.transport.memory.read_obj(GuestAddress(at)).unwrap()
    }

    fn descriptor(&self, at: u64, address: u64, length: u32, flags: u16, next: u16) {
        self.put(at, address);
        self.put(at + 8, length);
        self.put(at + 12, flags);
        self.put(at + 14, next);
    }

    /// Makes the chain that begins at `head` available as number `index`.
    fn avail(&self, index: u16, head: u16) {
        self.put(DRIVER_AREA + 4 + 2 * u64::from(index % MAX_SIZE), head);
        self.put(DRIVER_AREA + 2, index.wrapping_add(1));
    }

    /// Six bytes to echo, in descriptors 0 and 1.
    fn question(&self) {
        self.transport
            .memory
            .write_slice(b"hello!", GuestAddress(BUFFER))
            .unwrap();
        self.descriptor(DESCRIPTORS, BUFFER, 6, NEXT, 1);
        self.descriptor(DESCRIPTORS + 16, BUFFER + 0x100, 64, WRITE, 0);
    }

    fn notify_and_work(&mut self) {
        self.write(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
        while self.transport.work() {}
    }

    fn used_index(&self) -> u16 {
        self.get(DEVICE_AREA + 2)
    }

    fn interrupted(&self) -> bool {
        self.interrupt.read().is_ok()
    }
}

#[test]
fn the_device_says_who_it_is() {
    let mut rig = Rig::new();
    for (register, value) in [
        (VIRTIO_MMIO_MAGIC_VALUE, 0x7472_6976),
        (VIRTIO_MMIO_VERSION, 2),
        (VIRTIO_MMIO_DEVICE_ID, 42),
        (VIRTIO_MMIO_DEVICE_FEATURES, 1 << 28 | 1 << 29 | 1 << 3),
        (VIRTIO_MMIO_QUEUE_NUM_MAX, MAX_SIZE.into()),
        (VIRTIO_MMIO_SHM_LEN_LOW, u32::MAX),
    ] {
        assert_eq!(rig.read(register), value, "register {register:#x}");
    }
    for (half, features) in [(1, 1), (2, 0), (u32::MAX, 0)] {
        rig.write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, half);
        assert_eq!(
            rig.read(VIRTIO_MMIO_DEVICE_FEATURES),
            features,
            "half {half}"
        );
    }
    for (queue, size) in [(1, 4), (2, 0), (u32::MAX, 0)] {
        rig.write(VIRTIO_MMIO_QUEUE_SEL, queue);
        assert_eq!(rig.read(VIRTIO_MMIO_QUEUE_NUM_MAX), size, "queue {queue}");
    }
}

#[test]
fn accesses_of_another_kind_do_nothing_and_are_counted() {
    let mut rig = Rig::new();
    for (count, (offset, width)) in [
        (0, Width::Byte),
        (0, Width::Quad),
        (2, Width::Long),
        (0xf0, Width::Long),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(rig.transport.read(offset, width), 0);
        rig.transport.write(offset, width, u64::MAX);
        let counted = rig.transport.state.counters().values().bad_accesses;
        assert_eq!(counted, 2 * (count as u64 + 1), "{width:?} at {offset:#x}");
    }
    rig.transport
        .write(VIRTIO_MMIO_STATUS.into(), Width::Word, 1);
    assert_eq!(rig.status(), 0);
}

#[test]
fn the_configuration_space_takes_any_width() {
    let mut rig = Rig::new();
    rig.transport
        .write(0x100, Width::Quad, 0x0807_0605_0403_0201);
    rig.transport.write(0x103, Width::Word, 0xbbaa);
    for (offset, width, value) in [
        (0x100, Width::Quad, 0x0807_06bb_aa03_0201),
        (0x103, Width::Byte, 0xaa),
        (0x106, Width::Long, 0x0807),
        (0x108, Width::Quad, 0),
        (u64::MAX, Width::Quad, 0),
    ] {
        assert_eq!(
            rig.transport.read(offset, width),
            value,
            "{width:?} at {offset:#x}"
        );
    }
}

#[test]
fn features_are_accepted_only_if_offered_and_modern() {
    let modern = 1 << VIRTIO_F_VERSION_1;
    for (features, accepted) in [
        (modern, true),
        (modern | 1 << 3 | 1 << 28 | 1 << 29, true),
        (1 << 3, false),
        (modern | 1 << 4, false),
        (modern | 1 << 63, false),
    ] {
        let mut rig = Rig::new();
        rig.accept_features(features);
        assert_eq!(rig.status(), if accepted { 11 } else { 3 }, "{features:#x}");
        rig.write(VIRTIO_MMIO_STATUS, STARTED);
        assert_eq!(rig.status(), if accepted { 15 } else { 3 }, "{features:#x}");
    }
}

#[test]
fn a_request_is_answered() {
    for features in [0, 1 << VIRTIO_RING_F_EVENT_IDX] {
        let mut rig = Rig::new();
        rig.start(features);
        rig.question();
        rig.avail(0, 0);
        rig.notify_and_work();
        assert_eq!((rig.used_index(), rig.get(DEVICE_AREA + 4)), (1, [0u32, 6]));
        assert_eq!(&rig.get::<[u8; 6]>(BUFFER + 0x100), b"hello!");
        assert!(rig.interrupted());
        assert_eq!(rig.read(VIRTIO_MMIO_INTERRUPT_STATUS), 1);
        rig.write(VIRTIO_MMIO_INTERRUPT_ACK, 1);
        assert_eq!(rig.read(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
    }
}

#[test]
fn an_interrupt_that_the_driver_does_not_want_is_not_sent() {
    let mut rig = Rig::new();
    rig.start(1 << VIRTIO_RING_F_EVENT_IDX);
    rig.put(DRIVER_AREA + 4 + 2 * u64::from(MAX_SIZE), 1u16); // used_event
    rig.question();
    for (index, wanted) in [(0, false), (1, true), (2, false)] {
        rig.avail(index, 0);
        rig.notify_and_work();
        assert_eq!(rig.interrupted(), wanted, "request {index}");
    }
}

#[test]
fn nothing_is_done_before_the_driver_is_ready() {
    let mut rig = Rig::new();
    rig.accept_features(1 << VIRTIO_F_VERSION_1);
    rig.set_up_queue(MAX_SIZE.into(), [DESCRIPTORS, DRIVER_AREA, DEVICE_AREA]);
    rig.question();
    rig.avail(0, 0);
    rig.notify_and_work();
    assert_eq!(rig.used_index(), 0);
    rig.write(VIRTIO_MMIO_STATUS, STARTED);
    while rig.transport.work() {}
    assert_eq!(rig.used_index(), 1);
}

#[test]
fn the_work_is_done_in_parts() {
    let mut rig = Rig::new();
    rig.start(0);
    rig.question();
    for index in 0..BATCH as u16 + 1 {
        rig.avail(index, 0);
    }
    rig.transport.notified(0);
    assert!(rig.transport.work());
    assert_eq!(rig.used_index(), BATCH as u16);
    assert!(!rig.transport.work());
    assert_eq!(rig.used_index(), BATCH as u16 + 1);
}

#[test]
fn a_reset_puts_everything_back() {
    let mut rig = Rig::new();
    rig.start(1 << 3);
    rig.question();
    rig.avail(0, 0);
    rig.notify_and_work();
    rig.write(VIRTIO_MMIO_STATUS, 0);
    for register in [
        VIRTIO_MMIO_STATUS,
        VIRTIO_MMIO_INTERRUPT_STATUS,
        VIRTIO_MMIO_QUEUE_READY,
    ] {
        assert_eq!(rig.read(register), 0, "register {register:#x}");
    }
    rig.avail(1, 0);
    rig.notify_and_work();
    assert_eq!(rig.used_index(), 1);
    rig.start(0);
    assert_eq!(rig.used_index(), 0);
}

#[test]
fn set_up_registers_are_fixed_while_in_use() {
    let mut rig = Rig::new();
    rig.start(0);
    rig.write(VIRTIO_MMIO_QUEUE_NUM, 2);
    rig.write(VIRTIO_MMIO_QUEUE_DESC_LOW, 0);
    rig.write(VIRTIO_MMIO_DRIVER_FEATURES, u32::MAX);
    let mut rig = rig.restarted();
    rig.question();
    rig.avail(0, 0);
    rig.notify_and_work();
    assert_eq!((rig.status(), rig.used_index()), (STARTED, 1));
}

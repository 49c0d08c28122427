// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

use vm_memory::{Bytes, GuestAddress};

use crate::chain::{BadChain, Chain};
use crate::counters::Counters;
use crate::pci::bar;
use crate::virtio_device::OPTIONAL_FEATURES;

use super::*;

mod remote;

const MEMORY_SIZE: usize = 0x10000;
const DESCRIPTORS: u64 = 0x1000;
const DRIVER_AREA: u64 = 0x2000;
const DEVICE_AREA: u64 = 0x3000;
const BUFFER: u64 = 0x4000;

/// Common configuration.
const FEATURE_SELECT: u64 = 0x08;
const FEATURE: u64 = 0x0c;
const CONFIG_VECTOR: u64 = 0x10;
const STATUS: u64 = 0x14;
const GENERATION: u64 = 0x15;
const QUEUE_SELECT: u64 = 0x16;
const QUEUE_SIZE: u64 = 0x18;
const QUEUE_VECTOR: u64 = 0x1a;
const QUEUE_ENABLE: u64 = 0x1c;
const QUEUE_AREAS: u64 = 0x20;

const COMMAND: usize = 0x04;
const MSIX_CONTROL: usize = 0x98 + 3;

/// Answers each request with one byte.
#[derive(Debug)]
struct Dot {
    has_changed: bool,
}

impl VirtioDevice for Dot {
    fn device_id(&self) -> u32 {
        42
    }

    fn features(&self) -> u64 {
        1 << 3 | OPTIONAL_FEATURES.bits()
    }

    fn queue_sizes(&self) -> &[u16] {
        &[16, 4]
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        for (value, byte) in (offset..).zip(data) {
            *byte = value as u8;
        }
    }

    fn take_config_change(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    fn handle(&mut self, _: usize, chain: &Chain<'_>, _: &Counters) -> Result<u32, BadChain> {
        chain.writable().copy_from(0, b".")?;
        Ok(1)
    }
}

struct Rig {
    device: VirtioPci<Dot>,
    memory: GuestMemoryMmap,
}

impl Rig {
    fn new() -> Self {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY_SIZE)]).unwrap();
        let mut device = VirtioPci::new(Dot { has_changed: false }, StatePage::create().unwrap());
        device.set_memory(memory.clone(), vec![]);
        device.write_config(COMMAND, &6u16.to_le_bytes());
        Self { device, memory }
    }

    fn byte(&mut self, offset: u64, value: u64) {
        self.device.write(offset, Width::Byte, value);
    }

    fn word(&mut self, offset: u64, value: u64) {
        self.device.write(offset, Width::Word, value);
    }

    fn long(&mut self, offset: u64, value: u64) {
        self.device.write(offset, Width::Long, value);
    }

    fn status(&mut self) -> u8 {
        self.device.read(STATUS, Width::Byte) as u8
    }

    /// Up to `FEATURES_OK`.
    fn accept(&mut self, features: u64) {
        self.byte(STATUS, 3);
        for (half, value) in [(0, features as u32), (1, (features >> 32) as u32)] {
            self.long(FEATURE_SELECT, half);
            self.long(FEATURE, value.into());
        }
        self.byte(STATUS, 11);
    }

    fn set_up_queue(&mut self, areas: [u64; 3]) {
        self.word(QUEUE_SELECT, 0);
        self.word(QUEUE_SIZE, 8);
        for (offset, area) in (QUEUE_AREAS..).step_by(8).zip(areas) {
            self.long(offset, area & 0xffff_ffff);
            self.long(offset + 4, area >> 32);
        }
        self.word(QUEUE_ENABLE, 1);
    }

    fn start(&mut self) {
        self.start_with(Features::default());
    }

    /// With these features beside `VIRTIO_F_VERSION_1`.
    fn start_with(&mut self, features: Features) {
        self.accept(features.with(Features::VERSION_1).bits());
        self.word(CONFIG_VECTOR, 0);
        self.word(QUEUE_SELECT, 0);
        self.word(QUEUE_VECTOR, 1);
        self.set_up_queue([DESCRIPTORS, DRIVER_AREA, DEVICE_AREA]);
        self.byte(STATUS, 15);
    }

    /// Makes one request available, a byte to write at [`BUFFER`].
    fn submit(&self) {
        let write = |value: u64, address| self.memory.write_obj(value, GuestAddress(address));
        write(BUFFER, DESCRIPTORS).unwrap();
        write(1 | 2 << 32, DESCRIPTORS + 8).unwrap();
        write(1 << 16, DRIVER_AREA).unwrap();
    }

    fn used(&self) -> u16 {
        self.memory.read_obj(GuestAddress(DEVICE_AREA + 2)).unwrap()
    }

    fn work(&mut self) {
        while self.device.work() {}
    }
}

#[test]
fn a_request_is_done_and_its_vector_pends() {
    let mut rig = Rig::new();
    rig.start();
    rig.submit();
    rig.word(layout::NOTIFY, 0);
    rig.work();
    assert_eq!(rig.used(), 1);
    assert_eq!(
        rig.memory.read_obj::<u8>(GuestAddress(BUFFER)).unwrap(),
        b'.'
    );
    assert_eq!(rig.device.interrupts().pending, 1 << 1);
    let pending_bits = bar(layout::MSIX_BAR) + layout::PENDING_BITS;
    assert_eq!(rig.device.read(pending_bits, Width::Quad), 1 << 1);
    rig.device.delivered(1 << 1);
    assert_eq!(rig.device.read(pending_bits, Width::Long), 0);
    let counters = rig.device.state().counters().values();
    assert_eq!((counters.requests, counters.bad_accesses), (1, 0));
}

#[test]
fn without_msix_the_pin_is_high_until_the_status_is_read() {
    let mut rig = Rig::new();
    rig.start();
    rig.submit();
    rig.device.notified(0);
    rig.work();
    assert!(rig.device.interrupts().pin);
    rig.device.write_config(MSIX_CONTROL, &[0x80]);
    assert!(!rig.device.interrupts().pin);
    rig.device.write_config(MSIX_CONTROL, &[0]);
    assert_eq!(rig.device.read(layout::ISR, Width::Byte), 1);
    assert!(!rig.device.interrupts().pin);
    assert_eq!(rig.device.read(layout::ISR, Width::Byte), 0);
}

#[test]
fn a_change_of_the_configuration_is_announced() {
    let mut rig = Rig::new();
    rig.start();
    rig.device.device.has_changed = true;
    rig.work();
    assert_eq!(rig.device.read(GENERATION, Width::Byte), 1);
    assert_eq!(rig.device.interrupts().pending, 1);
    assert_eq!(rig.device.read(layout::ISR, Width::Byte), 2);
    rig.work();
    assert_eq!(rig.device.read(GENERATION, Width::Byte), 1);
}

#[test]
fn nothing_is_done_without_bus_mastering() {
    let mut rig = Rig::new();
    rig.start();
    rig.device.write_config(COMMAND, &2u16.to_le_bytes());
    rig.submit();
    rig.word(layout::NOTIFY, 0);
    rig.work();
    assert_eq!(rig.used(), 0);
    rig.device.write_config(COMMAND, &6u16.to_le_bytes());
    rig.work();
    assert_eq!(rig.used(), 1);
}

#[test]
fn memory_that_is_gone_makes_the_device_demand_a_reset() {
    let mut rig = Rig::new();
    rig.start();
    rig.submit();
    rig.device.set_memory(GuestMemoryMmap::default(), vec![]);
    rig.word(layout::NOTIFY, 0);
    rig.work();
    assert_ne!(rig.status() & status::DEVICE_NEEDS_RESET, 0);
    assert_eq!(rig.device.interrupts().pending, 1);
    rig.byte(STATUS, 0);
    assert_eq!(rig.status(), 0);
    rig.device.set_memory(rig.memory.clone(), vec![]);
    rig.start();
    rig.word(layout::NOTIFY, 0);
    rig.work();
    assert_eq!(rig.used(), 1);
}

#[test]
fn a_ring_outside_memory_is_not_enabled() {
    let mut rig = Rig::new();
    rig.accept(Features::VERSION_1.bits());
    rig.set_up_queue([DESCRIPTORS, DRIVER_AREA, 1 << 40]);
    assert_eq!(rig.device.read(QUEUE_ENABLE, Width::Word), 0);
    assert_ne!(rig.status() & status::DEVICE_NEEDS_RESET, 0);
}

#[test]
fn features_are_agreed_on_or_not() {
    for (features, status) in [
        (Features::VERSION_1.bits() | 1 << 3, 11),
        (1 << 3, 3),
        (Features::VERSION_1.bits() | 1 << 5, 3),
    ] {
        let mut rig = Rig::new();
        rig.accept(features);
        assert_eq!(rig.status(), status, "{features:#x}");
    }
}

#[test]
fn a_vector_that_there_is_not_reads_as_none() {
    let mut rig = Rig::new();
    for (register, written, found) in [
        (CONFIG_VECTOR, 2, 2),
        (CONFIG_VECTOR, 3, 0xffff),
        (QUEUE_VECTOR, 1, 1),
        (QUEUE_VECTOR, 0xffff, 0xffff),
    ] {
        rig.word(register, written);
        assert_eq!(rig.device.read(register, Width::Word), found);
    }
}

#[test]
fn the_window_reaches_the_registers() {
    let mut rig = Rig::new();
    let window = 0x84;
    rig.device
        .write_config(window + 8, &(STATUS as u32).to_le_bytes());
    rig.device.write_config(window + 12, &1u32.to_le_bytes());
    rig.device.write_config(window + 16, &[3]);
    let mut data = [0];
    rig.device.read_config(window + 16, &mut data);
    assert_eq!((data[0], rig.status()), (3, 3));
    // Not the width of the window: only the bytes, no access.
    rig.device.write_config(window + 16, &[0, 0]);
    assert_eq!(rig.status(), 3);
}

#[test]
fn registers_take_accesses_of_their_own_width_only() {
    let mut rig = Rig::new();
    let places = [
        (QUEUE_SIZE, Width::Byte),
        (STATUS, Width::Long),
        (QUEUE_AREAS, Width::Quad),
        (0x38, Width::Long),
        (0x3c, Width::Word),
        (layout::ISR + 1, Width::Byte),
        (layout::MSIX + 2, Width::Word),
        (layout::MSIX + 0xffc, Width::Long),
        (bar(2), Width::Long),
        (u64::MAX, Width::Quad),
    ];
    for (offset, width) in places {
        assert_eq!(rig.device.read(offset, width), 0, "{offset:#x}");
        rig.device.write(offset, width, 1);
    }
    let bad = rig.device.state().counters().values().bad_accesses;
    assert_eq!(bad, 2 * places.len() as u64);
}

#[test]
fn a_reset_forgets_everything() {
    let mut rig = Rig::new();
    rig.start();
    rig.device.reset();
    assert_eq!(rig.status(), 0);
    assert_eq!(rig.device.read(CONFIG_VECTOR, Width::Word), 0xffff);
    assert_eq!(rig.device.read(QUEUE_ENABLE, Width::Word), 0);
    let mut command = [0; 2];
    rig.device.read_config(COMMAND, &mut command);
    assert_eq!(command, [0; 2]);
}

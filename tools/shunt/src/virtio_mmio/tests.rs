// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The transport under a well-behaved driver.

mod any_driver;
mod hostile;
mod published;
mod rig;

use super::*;
use crate::device::Device;
use crate::Width;

use rig::*;

#[test]
fn the_device_says_who_it_is() {
    let mut rig = Rig::new();
    for (register, value) in [
        (mmio::MAGIC_VALUE, 0x7472_6976),
        (mmio::VERSION, 2),
        (mmio::DEVICE_ID, 42),
        (mmio::DEVICE_FEATURES, 1 << 28 | 1 << 29 | 1 << 3),
        (mmio::QUEUE_NUM_MAX, MAX_SIZE.into()),
        (mmio::SHM_LEN_LOW, u32::MAX),
    ] {
        assert_eq!(rig.read(register), value, "register {register:#x}");
    }
    for (half, features) in [(1, UPPER_FEATURES), (2, 0), (u32::MAX, 0)] {
        rig.write(mmio::DEVICE_FEATURES_SEL, half);
        assert_eq!(rig.read(mmio::DEVICE_FEATURES), features, "half {half}");
    }
    for (queue, size) in [(1, 4), (2, 0), (u32::MAX, 0)] {
        rig.write(mmio::QUEUE_SEL, queue);
        assert_eq!(rig.read(mmio::QUEUE_NUM_MAX), size, "queue {queue}");
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
    rig.transport.write(mmio::STATUS as u64, Width::Word, 1);
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
    let modern = Features::VERSION_1.bits();
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
        rig.write(mmio::STATUS, STARTED);
        assert_eq!(rig.status(), if accepted { 15 } else { 3 }, "{features:#x}");
    }
}

#[test]
fn a_request_is_answered() {
    for features in [0, Features::EVENT_IDX.bits()] {
        let mut rig = Rig::new();
        rig.start(features);
        rig.question();
        rig.avail(0, 0);
        rig.notify_and_work();
        assert_eq!((rig.used_index(), rig.get(DEVICE_AREA + 4)), (1, [0u32, 6]));
        assert_eq!(&rig.get::<[u8; 6]>(BUFFER + 0x100), b"hello!");
        assert!(rig.interrupted());
        assert_eq!(rig.read(mmio::INTERRUPT_STATUS), 1);
        rig.write(mmio::INTERRUPT_ACK, 1);
        assert_eq!(rig.read(mmio::INTERRUPT_STATUS), 0);
    }
}

#[test]
fn an_interrupt_that_the_driver_does_not_want_is_not_sent() {
    let mut rig = Rig::new();
    rig.start(Features::EVENT_IDX.bits());
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
    rig.accept_features(Features::VERSION_1.bits());
    rig.set_up_queue(MAX_SIZE.into(), [DESCRIPTORS, DRIVER_AREA, DEVICE_AREA]);
    rig.question();
    rig.avail(0, 0);
    rig.notify_and_work();
    assert_eq!(rig.used_index(), 0);
    rig.write(mmio::STATUS, STARTED);
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
    rig.write(mmio::STATUS, 0);
    for register in [mmio::STATUS, mmio::INTERRUPT_STATUS, mmio::QUEUE_READY] {
        assert_eq!(rig.read(register), 0, "register {register:#x}");
    }
    rig.avail(1, 0);
    rig.notify_and_work();
    assert_eq!(rig.used_index(), 1);
    rig.put(DEVICE_AREA + 2, 0u16);
    rig.start(0);
    rig.avail(0, 0);
    rig.notify_and_work();
    assert_eq!(rig.used_index(), 1, "the ring begins anew");
}

#[test]
fn set_up_registers_are_fixed_while_in_use() {
    let mut rig = Rig::new();
    rig.start(0);
    rig.write(mmio::QUEUE_NUM, 2);
    rig.write(mmio::QUEUE_DESC_LOW, 0);
    rig.write(mmio::DRIVER_FEATURES, u32::MAX);
    let mut rig = rig.restarted();
    rig.question();
    rig.avail(0, 0);
    rig.notify_and_work();
    assert_eq!((rig.status(), rig.used_index()), (STARTED, 1));
}

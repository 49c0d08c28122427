// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The transport under a driver that lies, and with a state page or rings that do; and a device that
//! cannot go on.

use super::*;

/// The device stopped, told the driver, and works again after a reset.
fn assert_needs_reset(rig: &mut Rig, what: &str) {
    assert_eq!(rig.status() & NEEDS_RESET, NEEDS_RESET, "{what}");
    assert_eq!(
        rig.transport.state.counters().values().resets_demanded,
        1,
        "{what}"
    );
    rig.notify_and_work();
    rig.write(mmio::STATUS, 0);
    rig.put(DRIVER_AREA + 2, 0u16);
    rig.start(0);
    rig.question();
    rig.avail(0, 0);
    rig.notify_and_work();
    assert_eq!(rig.used_index(), 1, "after a reset: {what}");
}

#[test]
fn a_queue_that_cannot_be_is_refused() {
    let good = [DESCRIPTORS, DRIVER_AREA, DEVICE_AREA];
    let end = MEMORY_SIZE as u64;
    for (size, areas) in [
        (0, good),
        (3, good),
        (32, good),
        (0x1_0010, good),
        (16, [end, DRIVER_AREA, DEVICE_AREA]),
        (16, [end - 16, DRIVER_AREA, DEVICE_AREA]),
        (16, [DESCRIPTORS, end - 8, DEVICE_AREA]),
        (16, [DESCRIPTORS, DRIVER_AREA, end - 8]),
        (16, [DESCRIPTORS + 8, DRIVER_AREA, DEVICE_AREA]),
        (16, [DESCRIPTORS, DRIVER_AREA + 1, DEVICE_AREA]),
        (16, [DESCRIPTORS, DRIVER_AREA, DEVICE_AREA + 2]),
        (16, [!15, DRIVER_AREA, DEVICE_AREA]),
        (16, [DESCRIPTORS, !1, DEVICE_AREA]),
        (16, [DESCRIPTORS, DRIVER_AREA, !3]),
    ] {
        let mut rig = Rig::new();
        rig.accept_features(Features::VERSION_1.bits());
        rig.set_up_queue(size, areas);
        assert_eq!(rig.read(mmio::QUEUE_READY), 0);
        assert_needs_reset(&mut rig, &format!("size {size}, areas {areas:x?}"));
    }
}

#[test]
fn a_request_that_cannot_be_stops_the_device() {
    let second = DESCRIPTORS + 16;
    let table = BUFFER + 0x1000;
    type Spoil = Box<dyn Fn(&Rig)>;
    let cases: Vec<(&str, Spoil)> = vec![
        (
            "available index ahead",
            Box::new(|rig| rig.put(DRIVER_AREA + 2, MAX_SIZE + 1)),
        ),
        (
            "head out of the table",
            Box::new(|rig| rig.avail(0, MAX_SIZE)),
        ),
        (
            "loop",
            Box::new(move |rig| rig.descriptor(second, BUFFER, 64, WRITE | NEXT, 1)),
        ),
        (
            "next out of the table",
            Box::new(move |rig| rig.descriptor(second, BUFFER, 64, WRITE | NEXT, 99)),
        ),
        (
            "outside memory",
            Box::new(|rig| rig.descriptor(DESCRIPTORS, 1 << 40, 6, NEXT, 1)),
        ),
        (
            "across the end",
            Box::new(|rig| rig.descriptor(DESCRIPTORS, 0xfffc, 6, NEXT, 1)),
        ),
        (
            "wraps",
            Box::new(|rig| rig.descriptor(DESCRIPTORS, u64::MAX, 6, NEXT, 1)),
        ),
        (
            "huge",
            Box::new(|rig| rig.descriptor(DESCRIPTORS, 0, u32::MAX, NEXT, 1)),
        ),
        (
            "no room",
            Box::new(move |rig| rig.descriptor(second, BUFFER, 5, WRITE, 0)),
        ),
        (
            "readable after writable",
            Box::new(move |rig| {
                rig.descriptor(DESCRIPTORS, BUFFER, 6, WRITE | NEXT, 1);
                rig.descriptor(second, BUFFER, 6, 0, 0);
            }),
        ),
        (
            "indirect table cut",
            Box::new(move |rig| {
                rig.descriptor(DESCRIPTORS, table, 24, INDIRECT, 0);
            }),
        ),
        (
            "indirect table outside memory",
            Box::new(|rig| {
                rig.descriptor(DESCRIPTORS, 1 << 40, 32, INDIRECT, 0);
            }),
        ),
        (
            "indirect in indirect",
            Box::new(move |rig| {
                rig.descriptor(DESCRIPTORS, table, 16, INDIRECT, 0);
                rig.descriptor(table, table, 16, INDIRECT, 0);
            }),
        ),
        (
            "loop in indirect table",
            Box::new(move |rig| {
                rig.descriptor(DESCRIPTORS, table, 32, INDIRECT, 0);
                rig.descriptor(table, BUFFER, 6, NEXT, 1);
                rig.descriptor(table + 16, BUFFER, 64, WRITE | NEXT, 1);
            }),
        ),
    ];
    for (what, spoil) in cases {
        let mut rig = Rig::new();
        rig.start(Features::INDIRECT_DESC.bits());
        rig.question();
        rig.avail(0, 0);
        spoil(&rig);
        rig.notify_and_work();
        assert!(rig.interrupted(), "{what}");
        assert_eq!(rig.read(mmio::INTERRUPT_STATUS), 3, "{what}");
        rig.write(mmio::INTERRUPT_ACK, 1);
        assert_eq!(rig.read(mmio::INTERRUPT_STATUS), 2, "{what}");
        assert_needs_reset(&mut rig, what);
    }
}

/// A request whose descriptors are in a table.
fn with_table(features: Features) -> Rig {
    let mut rig = Rig::new();
    rig.start(features.bits());
    rig.question();
    let table = BUFFER + 0x1000;
    for at in 0..4 {
        rig.put(table + 8 * at, rig.get::<u64>(DESCRIPTORS + 8 * at));
    }
    rig.descriptor(DESCRIPTORS, table, 32, INDIRECT, 0);
    rig.avail(0, 0);
    rig.notify_and_work();
    rig
}

#[test]
fn a_good_indirect_request_is_answered() {
    let rig = with_table(Features::INDIRECT_DESC);
    assert_eq!(rig.get::<[u32; 2]>(DEVICE_AREA + 4), [0, 6]);
}

#[test]
fn a_table_that_was_not_agreed_on_stops_the_device() {
    let mut rig = with_table(Features::default());
    assert_needs_reset(&mut rig, "a table");
}

#[test]
fn a_restarted_device_does_not_trust_the_page() {
    let mut rig = Rig::new();
    rig.start(0);
    rig.transport.state.registers().queues[0]
        .size
        .store(7, Ordering::Relaxed);
    let mut rig = rig.restarted();
    assert_needs_reset(&mut rig, "size 7 in the page");

    let mut rig = Rig::new();
    rig.start(0);
    rig.transport
        .state
        .registers()
        .driver_features
        .store(1 << 50, Ordering::Relaxed);
    let mut rig = rig.restarted();
    assert_needs_reset(&mut rig, "feature 50 in the page");
}

#[test]
fn a_restarted_device_knows_its_used_index() {
    let mut rig = Rig::new();
    rig.start(0);
    rig.question();
    rig.put(DEVICE_AREA + 2, 1000u16);
    let mut rig = rig.restarted();
    rig.avail(0, 0);
    rig.notify_and_work();
    assert_eq!(rig.used_index(), 1, "the driver wrote 1000");
}

#[test]
fn a_device_that_cannot_go_on_is_reset_before_the_next_request() {
    let mut rig = Rig::new();
    rig.start(0);
    rig.question();
    rig.avail(0, 0);
    rig.transport.device.must_reset = true;
    rig.notify_and_work();
    assert!(rig.interrupted());
    assert_eq!(rig.used_index(), 0);
    assert_eq!(rig.transport.state.counters().values().requests, 0);
    assert_needs_reset(&mut rig, "cannot go on");
}

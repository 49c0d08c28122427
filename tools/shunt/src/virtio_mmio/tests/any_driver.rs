// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The transport under any driver at all, in the hands of one process after another.

use proptest::prelude::*;

use super::*;

/// One thing that happens to a device.
#[derive(Clone, Debug)]
enum Event {
    Read(u64, Width),
    Write(u64, Width, u64),
    Notify(usize),
    /// The driver scribbles over the rings.
    Scribble(u64, u64),
    Restart,
}

fn any_event() -> impl Strategy<Value = Event> {
    let register = prop_oneof![
        (0..0x40u64).prop_map(|index| index * 4),
        Just(mmio::STATUS as u64),
        0..0x200u64,
        any::<u64>(),
    ];
    let width = prop_oneof![
        6 => Just(Width::Long),
        1 => Just(Width::Byte),
        1 => Just(Width::Quad),
    ];
    let value = prop_oneof![
        0..20u64,
        (0..16u64).prop_map(|page| page << 12),
        any::<u64>()
    ];
    let address = prop_oneof![
        DESCRIPTORS..DESCRIPTORS + 0x100,
        DRIVER_AREA..DRIVER_AREA + 0x30,
        DEVICE_AREA..DEVICE_AREA + 0x30,
    ];
    prop_oneof![
        2 => (register.clone(), width.clone()).prop_map(|(o, w)| Event::Read(o, w)),
        6 => (register, width, value.clone()).prop_map(|(o, w, v)| Event::Write(o, w, v)),
        1 => (0..3usize).prop_map(Event::Notify),
        4 => (address, value).prop_map(|(a, v)| Event::Scribble(a, v)),
        1 => Just(Event::Restart),
    ]
}

/// Most parts of work that anything can leave behind: rings disjoint from each other hold at
/// most their size; rings that overlap may feed themselves, so the device is only asked this
/// often.
const PARTS: usize = 64;

fn happen(mut rig: Rig, event: &Event) -> Rig {
    match *event {
        Event::Read(offset, width) => drop(rig.transport.read(offset, width)),
        Event::Write(offset, width, value) => rig.transport.write(offset, width, value),
        Event::Notify(queue) => rig.transport.notified(queue),
        Event::Scribble(address, value) => rig.put(address & !7, value),
        Event::Restart => rig = rig.restarted(),
    }
    for _ in 0..PARTS {
        if !rig.transport.work() {
            break;
        }
    }
    rig
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_a_driver_does_breaks_the_device(
        started in any::<bool>(),
        is_packed in any::<bool>(),
        events in prop::collection::vec(any_event(), 1..80),
    ) {
        let mut rig = Rig::new();
        if started {
            let ring = match is_packed {
                true => Features::RING_PACKED,
                false => Features::default(),
            };
            rig.start(ring.with(Features::EVENT_IDX).bits());
            rig.question();
        }
        for event in &events {
            rig = happen(rig, event);
        }
        rig.write(mmio::STATUS, 0);
        prop_assert_eq!(rig.status(), 0);
        rig.put(DRIVER_AREA + 2, 0u16);
        rig.start(0);
        rig.question();
        rig.avail(0, 0);
        rig.notify_and_work();
        prop_assert_eq!(rig.used_index(), 1);
    }

    #[test]
    fn a_restart_changes_no_register(events in prop::collection::vec(any_event(), 1..40)) {
        let mut rig = Rig::new();
        for event in &events {
            rig = happen(rig, event);
        }
        let registers = |rig: &mut Rig| {
            [
                mmio::DEVICE_FEATURES,
                mmio::QUEUE_NUM_MAX,
                mmio::QUEUE_READY,
                mmio::STATUS,
            ]
            .map(|register| rig.read(register))
        };
        let before = registers(&mut rig);
        let mut rig = rig.restarted();
        prop_assert_eq!(registers(&mut rig), before);
    }

    #[test]
    fn any_ring_comes_to_an_end(
        descriptors in prop::collection::vec((0..0x11000u64, 0..0x3000u32, 0..8u16, 0..18u16), 16),
        heads in prop::collection::vec(0..17u16, 16),
        available in 0..20u16,
    ) {
        let mut rig = Rig::new();
        rig.start(0);
        for (at, (address, length, flags, next)) in (DESCRIPTORS..).step_by(16).zip(descriptors) {
            rig.descriptor(at, address, length, flags, next);
        }
        for (at, head) in (DRIVER_AREA + 4..).step_by(2).zip(heads) {
            rig.put(at, head);
        }
        rig.put(DRIVER_AREA + 2, available);
        rig.write(mmio::QUEUE_NOTIFY, 0);
        let parts = (0..).take_while(|_| rig.transport.work()).count();
        prop_assert!(parts <= 3);
        let failed = rig.status() & NEEDS_RESET != 0;
        prop_assert!(failed || rig.used_index() == available);
    }
}

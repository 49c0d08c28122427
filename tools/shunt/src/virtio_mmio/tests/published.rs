// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What a guest finds that reads registers in memory.

use super::*;

const GENERATION: usize = mmio::CONFIG_GENERATION;
const CONFIG: usize = mmio::CONFIG;

#[test]
fn a_write_has_its_effect_when_it_returns() {
    let mut rig = Rig::new();
    for (selector, selected, values) in [
        (
            mmio::DEVICE_FEATURES_SEL,
            mmio::DEVICE_FEATURES,
            [(1, UPPER_FEATURES), (2, 0), (0, 1 << 28 | 1 << 29 | 1 << 3)],
        ),
        (
            mmio::QUEUE_SEL,
            mmio::QUEUE_NUM_MAX,
            [(1, 4), (2, 0), (0, MAX_SIZE.into())],
        ),
    ] {
        for (select, value) in values {
            rig.write(selector, select);
            assert_eq!(rig.shadow(selected), value, "{selected:#x}, {select}");
        }
    }
    rig.start(0);
    let of_queue = |rig: &mut Rig, queue| {
        rig.write(mmio::QUEUE_SEL, queue);
        rig.shadow(mmio::QUEUE_READY)
    };
    assert_eq!([1, 0].map(|queue| of_queue(&mut rig, queue)), [0, 1]);
    assert_eq!(rig.shadow(mmio::STATUS), STARTED);
    rig.write(mmio::STATUS, 0);
    assert_eq!(rig.shadow(mmio::QUEUE_READY), 0);
    assert_eq!(rig.shadow(mmio::STATUS), 0);
}

#[test]
fn what_cannot_be_read_is_zero_whatever_is_written() {
    let mut rig = Rig::new();
    rig.start(0);
    for register in (0..CONFIG).step_by(4) {
        if rig.transport.read_register(register).is_none() {
            rig.write(register, u32::MAX);
            assert_eq!(rig.shadow(register), 0, "register {register:#x}");
        }
    }
}

#[test]
fn who_acknowledges_an_interrupt_does_not_matter() {
    let mut rig = Rig::new();
    rig.start(0);
    rig.question();
    for (index, by_kvm) in [(0, true), (1, false)] {
        rig.avail(index, 0);
        rig.notify_and_work();
        assert_eq!(rig.shadow(mmio::INTERRUPT_STATUS), 1);
        if by_kvm {
            let register = mmio::INTERRUPT_STATUS as u64;
            let shadow = rig.transport.state.shadow();
            assert_eq!(shadow.clear(register, Width::Long, 1), 1);
        } else {
            rig.write(mmio::INTERRUPT_ACK, 1);
        }
        assert_eq!(rig.read(mmio::INTERRUPT_STATUS), 0);
    }
    assert_eq!(rig.transport.state.counters().values().interrupt_acks, 1);
}

#[test]
fn an_interrupt_before_a_restart_is_there_after_it() {
    let mut rig = Rig::new();
    rig.start(0);
    rig.transport.raise(mmio::interrupt::CONFIG);
    let rig = rig.restarted();
    let bits = mmio::interrupt::CONFIG | mmio::interrupt::QUEUE;
    assert_eq!(rig.shadow(mmio::INTERRUPT_STATUS), bits);
}

#[test]
fn a_write_of_the_configuration_changes_its_generation() {
    let mut rig = Rig::new();
    let before = rig.shadow(GENERATION);
    rig.write(CONFIG + 4, 0x1234);
    assert_eq!(rig.shadow(CONFIG + 4), 0x1234);
    let after = rig.shadow(GENERATION);
    assert!(after > before && after % 2 == 0, "{before}, then {after}");
    rig.write(CONFIG + 4, 0x1234);
    assert_eq!(rig.shadow(GENERATION), after);
    assert!(!rig.interrupted());
}

#[test]
fn a_change_by_the_device_is_published_and_announced() {
    for started in [false, true] {
        let mut rig = Rig::new();
        if started {
            rig.start(0);
        }
        let before = rig.shadow(GENERATION);
        rig.transport.device.config = [7; 8];
        rig.transport.device.config_changed = true;
        // No request is there: all that interrupts is the change.
        rig.notify_and_work();
        let want = if started { 0x0707_0707 } else { 0 };
        assert_eq!(rig.shadow(CONFIG), want, "started: {started}");
        assert_eq!(rig.shadow(GENERATION) != before, started);
        let announced = rig.shadow(mmio::INTERRUPT_STATUS) & mmio::interrupt::CONFIG;
        assert_eq!(announced != 0, started);
        assert_eq!(rig.interrupted(), started);
    }
}

#[test]
fn a_change_that_was_cut_off_is_completed_and_announced() {
    // Cut off before the first word, between two, and after the last.
    for words in 0..3 {
        let mut rig = Rig::new();
        rig.start(0);
        rig.write(CONFIG, 1);
        rig.write(CONFIG + 4, 2);
        let odd = rig.shadow(GENERATION) + 1;
        rig.transport.publish(GENERATION, odd);
        // The restarted device has a configuration of zeroes.
        for word in 0..words {
            rig.transport.publish(CONFIG + 4 * word, 0);
        }
        let rig = rig.restarted();
        assert_eq!((rig.shadow(CONFIG), rig.shadow(CONFIG + 4)), (0, 0));
        let generation = rig.shadow(GENERATION);
        assert!(generation > odd && generation % 2 == 0);
        let announced = rig.shadow(mmio::INTERRUPT_STATUS) & mmio::interrupt::CONFIG;
        assert_ne!(announced, 0, "after {words} words");
        assert!(rig.interrupted());
    }
}

#[test]
fn a_restart_without_a_change_announces_none() {
    let mut rig = Rig::new();
    rig.start(0);
    let before = rig.shadow(GENERATION);
    let rig = rig.restarted();
    assert_eq!(rig.shadow(GENERATION), before);
    assert_eq!(rig.shadow(mmio::INTERRUPT_STATUS), mmio::interrupt::QUEUE);
}

#[test]
fn a_selection_that_was_cut_off_is_published_by_the_next_process() {
    let rig = Rig::new();
    let registers = rig.transport.state.registers();
    registers.queue_sel.store(1, Ordering::Relaxed);
    registers.device_features_sel.store(1, Ordering::Relaxed);
    assert_eq!(rig.shadow(mmio::QUEUE_NUM_MAX), u32::from(MAX_SIZE));
    let rig = rig.restarted();
    assert_eq!(rig.shadow(mmio::QUEUE_NUM_MAX), 4);
    assert_eq!(rig.shadow(mmio::DEVICE_FEATURES), UPPER_FEATURES);
}

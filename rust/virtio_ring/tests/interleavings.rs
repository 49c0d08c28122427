// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Both sides of a queue in two threads, under every interleaving and every order that the memory
//! model allows. Sleepers sleep for good unless they are woken: a lost notification, or interrupt,
//! is a deadlock, which loom reports.

mod modelled;

use loom::model::Builder;
use loom::sync::{Arc, Notify};
use loom::thread;
use modelled::{queue, Device, Driver};
use virtio_spec::features::Features;

/// A check for each format, in order and not, with and without event index. With more
/// preemptions it takes minutes.
fn for_all_rings(preemptions: usize, check: impl Fn(Features) + Copy + Send + Sync + 'static) {
    for bits in 0..8u32 {
        let chosen = [
            Features::RING_PACKED,
            Features::EVENT_IDX,
            Features::IN_ORDER,
        ];
        let is_chosen = |index: &usize| bits >> index & 1 != 0;
        let chosen = (0..3).filter(is_chosen).map(|index| chosen[index]);
        let features = chosen.fold(Features::VERSION_1, Features::with);
        let mut model = Builder::new();
        model.preemption_bound = Some(preemptions);
        model.check(move || check(features));
    }
}

/// Adds, publishes and pops as often as told; what is left is popped when the device is over.
fn all_come_back(size: u16, buffers: u64, features: Features) {
    let (mut driver, mut device) = queue(size, features);
    let uses = thread::spawn(move || {
        let mut used = Vec::new();
        for _ in 0..buffers {
            used.extend(device.use_next());
            let _ = device.publish();
        }
        (device, used)
    });
    let (mut added, mut back) = (0, Vec::new());
    for _ in 0..buffers {
        added += u64::from(driver.add(added + 1));
        let _ = driver.publish();
        back.extend(driver.pop());
    }
    let (mut device, mut used) = uses.join().unwrap();
    used.extend(std::iter::from_fn(|| device.use_next()));
    let _ = device.publish();
    back.extend(std::iter::from_fn(|| driver.pop()));
    let all: Vec<u64> = (1..=added).collect();
    assert_eq!((&used, &back), (&all, &all));
}

#[test]
fn one_descriptor_carries_one_buffer_after_the_other() {
    for_all_rings(3, |features| all_come_back(1, 2, features));
}

#[test]
fn two_descriptors_carry_three_buffers() {
    for_all_rings(2, |features| all_come_back(2, 3, features));
}

/// Takes buffers until there were so many, and sleeps in between.
fn serve(device: &mut Device, buffers: u64, notified: &Notify, interrupt: &Notify) {
    let mut used = 0;
    while used < buffers {
        device.wake_up();
        while device.use_next().is_some() {
            used += 1;
        }
        if device.publish() {
            interrupt.notify();
        }
        if used < buffers && device.may_sleep() {
            notified.wait();
        }
    }
}

/// Waits for so many buffers, asleep.
fn collect(driver: &mut Driver, buffers: u64, interrupted: &Notify) {
    let mut back = 0;
    while back < buffers {
        driver.wake_up();
        while driver.pop().is_some() {
            back += 1;
        }
        if back < buffers && driver.may_sleep() {
            interrupted.wait();
        }
    }
}

#[test]
fn a_buffer_comes_back_though_both_sides_sleep() {
    for_all_rings(2, |features| {
        let (mut driver, mut device) = queue(1, features);
        let (notification, interrupt) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (notified, interrupting) = (Arc::clone(&notification), Arc::clone(&interrupt));
        let uses = thread::spawn(move || serve(&mut device, 1, &notified, &interrupting));
        assert!(driver.add(1));
        if driver.publish() {
            notification.notify();
        }
        collect(&mut driver, 1, &interrupt);
        uses.join().unwrap();
    });
}

#[test]
fn two_buffers_reach_a_device_that_sleeps() {
    for_all_rings(2, |features| {
        let (mut driver, mut device) = queue(2, features);
        let notification = Arc::new(Notify::new());
        let notified = Arc::clone(&notification);
        let uses = thread::spawn(move || serve(&mut device, 2, &notified, &Notify::new()));
        for token in 1..=2 {
            assert!(driver.add(token));
            if driver.publish() {
                notification.notify();
            }
        }
        uses.join().unwrap();
    });
}

#[test]
fn two_buffers_come_back_to_a_driver_that_sleeps() {
    for_all_rings(2, |features| {
        let (mut driver, mut device) = queue(2, features);
        assert!(driver.add(1) && driver.add(2));
        let _ = driver.publish();
        let interrupt = Arc::new(Notify::new());
        let interrupting = Arc::clone(&interrupt);
        let uses = thread::spawn(move || {
            while device.use_next().is_some() {
                if device.publish() {
                    interrupting.notify();
                }
            }
        });
        collect(&mut driver, 2, &interrupt);
        uses.join().unwrap();
    });
}

/// A batch is seen whole, from its first buffer on.
#[test]
fn what_is_published_together_is_there_together() {
    for_all_rings(3, |features| {
        let (mut driver, mut device) = queue(2, features);
        let uses = thread::spawn(move || {
            let first = device.use_next();
            let second = first.and_then(|_| device.use_next());
            assert!(matches!((first, second), (None, None) | (Some(1), Some(2))));
            let _ = device.publish();
        });
        assert!(driver.add(1) && driver.add(2));
        let _ = driver.publish();
        let first = driver.pop();
        let second = first.and_then(|_| driver.pop());
        assert!(matches!((first, second), (None, None) | (Some(1), Some(2))));
        uses.join().unwrap();
    });
}

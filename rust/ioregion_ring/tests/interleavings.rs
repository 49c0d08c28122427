// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Both ends of a channel in two threads, under every interleaving and every order that the
//! memory model allows. Sleepers sleep for good unless they are woken: a lost wake-up is a
//! deadlock, which loom reports.

mod modelled;

use ioregion_ring::completion;
use ioregion_ring::consumer::Consumer;
use ioregion_ring::producer::Producer;
use loom::model::Builder;
use loom::sync::{Arc, Notify};
use loom::thread;
use modelled::{Channel, VCPU};

/// The number of its only request.
const REQUEST: u64 = 1;

/// Posts as many of `accesses` as fit in as many attempts; the rest of both ends' work is done
/// when the other thread is over, which needs no waiting.
fn all_come_through(slots: u64, accesses: u64, attempts: u64) {
    loom::model(move || {
        let channel = Channel::new(slots);
        let kernel_end = Arc::clone(&channel);
        let vcpu = thread::spawn(move || {
            let mut producer = kernel_end.producer();
            let mut posted = 0;
            for _ in 0..attempts {
                if posted < accesses && kernel_end.post(&mut producer, posted + 1) {
                    posted += 1;
                }
            }
            posted
        });
        let mut consumer = channel.consumer();
        let mut taken = Vec::new();
        for _ in 0..attempts {
            taken.extend(channel.next(&mut consumer));
        }
        let posted = vcpu.join().unwrap();
        taken.extend(std::iter::from_fn(|| channel.next(&mut consumer)));
        assert_eq!(taken, (1..=posted).collect::<Vec<_>>());
    });
}

#[test]
fn one_slot_carries_one_access_after_the_other() {
    all_come_through(1, 2, 3);
}

#[test]
fn two_slots_carry_three_accesses() {
    all_come_through(2, 3, 3);
}

#[test]
fn a_device_that_sleeps_is_woken() {
    loom::model(|| {
        let channel = Channel::new(1);
        let wake = Arc::new(Notify::new());
        let (kernel_end, wake_device) = (Arc::clone(&channel), Arc::clone(&wake));
        let vcpu = thread::spawn(move || {
            assert!(kernel_end.post(&mut kernel_end.producer(), 1));
            if Producer::must_wake(&kernel_end.kernel, &kernel_end.device) {
                wake_device.notify();
            }
        });
        let mut consumer = channel.consumer();
        while channel.next(&mut consumer).is_none() {
            if consumer.arm(&channel.device, &channel.kernel) {
                wake.wait();
                Consumer::disarm(&channel.device);
            }
        }
        vcpu.join().unwrap();
    });
}

#[test]
fn a_vcpu_that_sleeps_is_woken() {
    loom::model(|| {
        let channel = Channel::new(1);
        let wake = Arc::new(Notify::new());
        let (device_end, wake_vcpu) = (Arc::clone(&channel), Arc::clone(&wake));
        let device = thread::spawn(move || {
            let Channel { device, kernel, .. } = &*device_end;
            if completion::complete(device, kernel, VCPU, REQUEST, 7) {
                wake_vcpu.notify();
            }
        });
        let answer = || completion::answer(&channel.device, VCPU, REQUEST);
        let data = loop {
            completion::fall_asleep(&channel.kernel, VCPU);
            if let Some(data) = answer() {
                break data;
            }
            wake.wait();
            completion::wake_up(&channel.kernel, VCPU);
        };
        assert_eq!(data, 7);
        device.join().unwrap();
    });
}

#[test]
fn a_read_returns_though_both_sides_sleep() {
    loom::model(|| {
        let channel = Channel::new(1);
        let wake_device = Arc::new(Notify::new());
        let wake_vcpu = Arc::new(Notify::new());
        let vcpu = {
            let (channel, wake_device) = (Arc::clone(&channel), Arc::clone(&wake_device));
            let wake_vcpu = Arc::clone(&wake_vcpu);
            thread::spawn(move || read(&channel, &wake_device, &wake_vcpu))
        };
        let mut consumer = channel.consumer();
        let request = loop {
            if let Some(request) = channel.next(&mut consumer) {
                break request;
            }
            if consumer.arm(&channel.device, &channel.kernel) {
                wake_device.wait();
                Consumer::disarm(&channel.device);
            }
        };
        if completion::complete(&channel.device, &channel.kernel, VCPU, request, 7) {
            wake_vcpu.notify();
        }
        assert_eq!(vcpu.join().unwrap(), 7);
    });
}

/// A vCPU's read of a device.
fn read(channel: &Channel, wake_device: &Notify, wake_vcpu: &Notify) -> u64 {
    assert!(channel.post(&mut channel.producer(), REQUEST));
    if Producer::must_wake(&channel.kernel, &channel.device) {
        wake_device.notify();
    }
    loop {
        completion::fall_asleep(&channel.kernel, VCPU);
        if let Some(data) = completion::answer(&channel.device, VCPU, REQUEST) {
            return data;
        }
        wake_vcpu.wait();
        completion::wake_up(&channel.kernel, VCPU);
    }
}

/// The answer to a request that the vCPU has given up comes before, while or after it makes the
/// next one.
#[test]
fn a_late_answer_is_not_taken_for_the_next() {
    loom::model(|| {
        let channel = Channel::new(2);
        let wake_vcpu = Arc::new(Notify::new());
        let (kernel_end, woken) = (Arc::clone(&channel), Arc::clone(&wake_vcpu));
        let mut producer = channel.producer();
        assert!(channel.post(&mut producer, REQUEST));
        let vcpu = thread::spawn(move || {
            let given_up = completion::answer(&kernel_end.device, VCPU, REQUEST);
            assert!(given_up.is_none_or(|data| data == REQUEST));
            assert!(kernel_end.post(&mut producer, REQUEST + 1));
            loop {
                completion::fall_asleep(&kernel_end.kernel, VCPU);
                if let Some(data) = completion::answer(&kernel_end.device, VCPU, REQUEST + 1) {
                    return data;
                }
                woken.wait();
                completion::wake_up(&kernel_end.kernel, VCPU);
            }
        });
        let mut consumer = channel.consumer();
        let Channel { device, kernel, .. } = &*channel;
        for request in [REQUEST, REQUEST + 1] {
            while channel.next(&mut consumer).is_none() {
                thread::yield_now();
            }
            if completion::complete(device, kernel, VCPU, request, request) {
                wake_vcpu.notify();
            }
        }
        assert_eq!(vcpu.join().unwrap(), REQUEST + 1);
    });
}

/// A device that dozes off in the middle of a burst is woken for the rest of it. At most three
/// preemptions: with all it takes ten seconds.
#[test]
fn a_burst_comes_through_to_a_device_that_sleeps() {
    let mut model = Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let channel = Channel::new(2);
        let wake = Arc::new(Notify::new());
        let (kernel_end, wake_device) = (Arc::clone(&channel), Arc::clone(&wake));
        let vcpu = thread::spawn(move || {
            let mut producer = kernel_end.producer();
            for number in 1..=2 {
                assert!(kernel_end.post(&mut producer, number));
                if Producer::must_wake(&kernel_end.kernel, &kernel_end.device) {
                    wake_device.notify();
                }
            }
        });
        let mut consumer = channel.consumer();
        for number in 1..=2 {
            let taken = loop {
                if let Some(taken) = channel.next(&mut consumer) {
                    break taken;
                }
                if consumer.arm(&channel.device, &channel.kernel) {
                    wake.wait();
                    Consumer::disarm(&channel.device);
                }
            };
            assert_eq!(taken, number);
        }
        vcpu.join().unwrap();
    });
}

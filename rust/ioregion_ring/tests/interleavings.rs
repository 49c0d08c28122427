// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Both ends of a channel in two threads, under every interleaving and every order that the
//! memory model allows. Sleepers sleep for good unless they are woken: a lost wake-up is a
//! deadlock, which loom reports.

#![cfg(not(miri))]

use std::collections::HashMap;

use ioregion_ring::completion;
use ioregion_ring::consumer::Consumer;
use ioregion_ring::layout::{Layout, CONSUMED_AT, ROOM_WANTED_AT, WAKE_ME_AT};
use ioregion_ring::memory::Memory;
use ioregion_ring::producer::Producer;
use ioregion_ring::slot::Access;
use ioregion_wire::frame::{Command, Operation, Width};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{
    fence, AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};
use loom::sync::{Arc, Notify};
use loom::thread;

/// Words of a slot that are used.
const SLOT_WORDS: usize = 6;
/// Words of a completion line that are used.
const LINE_WORDS: usize = 2;
/// The vCPU that makes all accesses.
const VCPU: usize = 0;
/// The number of its only request.
const REQUEST: u64 = 1;

/// A word of an area.
struct Word {
    value: AtomicU64,
    /// Present if the sides take turns with the word, by what else they tell each other. Then
    /// loom checks that they do: it does not itself let a load see what is stored later.
    turns: Option<UnsafeCell<()>>,
}

impl Word {
    fn free() -> Self {
        Self {
            value: AtomicU64::new(0),
            turns: None,
        }
    }

    fn in_turns() -> Self {
        Self {
            turns: Some(UnsafeCell::new(())),
            ..Self::free()
        }
    }
}

/// The words of an area that are shared while the threads run, by offset.
struct Area(HashMap<usize, Word>);

impl Area {
    /// An area of single words, and of lines that begin with a word that tells whose turn it is.
    fn new(words: &[usize], lines: impl IntoIterator<Item = usize>, length: usize) -> Self {
        let mut area: HashMap<_, _> = words.iter().map(|&at| (at, Word::free())).collect();
        for start in lines {
            area.insert(start, Word::free());
            area.extend((1..length).map(|word| (start + word * 8, Word::in_turns())));
        }
        Self(area)
    }
}

impl Memory for Area {
    fn load(&self, at: usize) -> u64 {
        let word = &self.0[&at];
        if let Some(turns) = &word.turns {
            turns.with(|_| ());
        }
        word.value.load(Relaxed)
    }

    fn load_acquire(&self, at: usize) -> u64 {
        self.0[&at].value.load(Acquire)
    }

    fn store(&self, at: usize, value: u64) {
        // What a new ring says of itself is set before anybody looks, and not modelled.
        if let Some(word) = self.0.get(&at) {
            if let Some(turns) = &word.turns {
                turns.with_mut(|_| ());
            }
            word.value.store(value, Relaxed);
        }
    }

    fn store_release(&self, at: usize, value: u64) {
        if let Some(word) = self.0.get(&at) {
            word.value.store(value, Release);
        }
    }

    fn full_barrier(&self) {
        fence(SeqCst);
    }
}

struct Channel {
    layout: Layout,
    kernel: Area,
    device: Area,
}

impl Channel {
    fn new(slots: u64) -> Arc<Self> {
        let layout = Layout::new(slots, 1).unwrap();
        // The flag of a vCPU is as far into the one area as its line is into the other.
        let line = Layout::completion(VCPU);
        let ring = (0..slots).map(|position| layout.slot(position));
        Arc::new(Self {
            layout,
            kernel: Area::new(&[ROOM_WANTED_AT, line], ring, SLOT_WORDS),
            device: Area::new(&[CONSUMED_AT, WAKE_ME_AT], [line], LINE_WORDS),
        })
    }

    fn producer(&self) -> Producer {
        Producer::new(self.layout, &self.kernel)
    }

    fn consumer(&self) -> Consumer {
        Consumer::new(self.layout, &self.device)
    }

    fn post(&self, producer: &mut Producer, number: u64) -> bool {
        let posted = producer.post(&self.kernel, &self.device, &access(number));
        posted.is_ok()
    }

    /// The number of the next access, whose words must all belong to it.
    fn next(&self, consumer: &mut Consumer) -> Option<u64> {
        let taken = consumer.next(&self.device, &self.kernel)?.unwrap();
        assert_eq!(taken, access(taken.request));
        Some(taken.request)
    }
}

/// An access each of whose words tells its number.
fn access(number: u64) -> Access {
    Access {
        command: Command {
            operation: Operation::Write(number),
            width: Width::Quad,
            expects_reply: true,
            user_data: number,
            offset: number,
        },
        vcpu: number as u32,
        request: number,
    }
}

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
fn a_vcpu_that_waits_for_room_is_woken() {
    loom::model(|| {
        let channel = Channel::new(1);
        let mut producer = channel.producer();
        assert!(channel.post(&mut producer, 1));
        let wake = Arc::new(Notify::new());
        let (device_end, wake_vcpu) = (Arc::clone(&channel), Arc::clone(&wake));
        let device = thread::spawn(move || {
            let mut consumer = device_end.consumer();
            assert_eq!(device_end.next(&mut consumer), Some(1));
            if Consumer::is_room_wanted(&device_end.device, &device_end.kernel) {
                wake_vcpu.notify();
            }
            consumer
        });
        while !channel.post(&mut producer, 2) {
            Producer::want_room(&channel.kernel);
            if channel.post(&mut producer, 2) {
                break;
            }
            wake.wait();
        }
        Producer::found_room(&channel.kernel);
        let mut consumer = device.join().unwrap();
        assert_eq!(channel.next(&mut consumer), Some(2));
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

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Both ends of a channel in threads of the machine, on its own atomics, all in one: a vCPU
//! posts and reads, and the device takes, answers and sleeps. Under Miri this also looks for
//! races, with loads that see old values as the memory model allows.

use std::sync::atomic::{
    fence, AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};
use std::sync::Arc;
use std::thread::{self, Thread};

use ioregion_ring::completion;
use ioregion_ring::consumer::Consumer;
use ioregion_ring::layout::Layout;
use ioregion_ring::memory::Memory;
use ioregion_ring::producer::Producer;
use ioregion_ring::slot::Access;
use ioregion_wire::frame::{Command, Operation, Width};

const VCPU: usize = 0;
/// Posted writes before each read.
const POSTED: u64 = 5;

struct Area(Vec<AtomicU64>);

impl Area {
    fn new(bytes: usize) -> Self {
        Self((0..bytes / 8).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Memory for Area {
    fn load(&self, at: usize) -> u64 {
        self.0[at / 8].load(Relaxed)
    }

    fn load_acquire(&self, at: usize) -> u64 {
        self.0[at / 8].load(Acquire)
    }

    fn store(&self, at: usize, value: u64) {
        self.0[at / 8].store(value, Relaxed);
    }

    fn store_release(&self, at: usize, value: u64) {
        self.0[at / 8].store(value, Release);
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

fn access(number: u64, request: u64) -> Access {
    let is_read = request != 0;
    Access {
        command: Command {
            operation: match is_read {
                true => Operation::Read,
                false => Operation::Write(number),
            },
            width: Width::Quad,
            expects_reply: is_read,
            user_data: number,
            offset: number,
        },
        vcpu: VCPU as u32,
        request,
    }
}

/// Posts an access and wakes the device for it. A full ring makes the vCPU wait for its read,
/// so here it is never full.
fn post(channel: &Channel, producer: &mut Producer, device: &Thread, access: &Access) {
    let posted = producer.post(&channel.kernel, &channel.device, access);
    posted.expect("room in the ring");
    if Producer::must_wake(&channel.kernel, &channel.device) {
        device.unpark();
    }
}

/// Waits for the answer to a request, asleep.
fn receive(channel: &Channel, request: u64) -> u64 {
    loop {
        completion::fall_asleep(&channel.kernel, VCPU);
        if let Some(data) = completion::answer(&channel.device, VCPU, request) {
            completion::wake_up(&channel.kernel, VCPU);
            return data;
        }
        thread::park();
    }
}

/// A device that answers each read with the sum of what was written before it.
fn serve(channel: &Channel, vcpu: &Thread, reads: u64) {
    let mut consumer = Consumer::new(channel.layout, &channel.device);
    let (mut sum, mut served) = (0, 0);
    while served < reads {
        let Some(taken) = consumer.next(&channel.device, &channel.kernel) else {
            if consumer.arm(&channel.device, &channel.kernel) {
                thread::park();
                Consumer::disarm(&channel.device);
            }
            continue;
        };
        let taken = taken.expect("an access");
        assert_eq!(taken, access(taken.command.offset, taken.request));
        if taken.request == 0 {
            sum += taken.command.offset;
            continue;
        }
        served += 1;
        let (own, kernel) = (&channel.device, &channel.kernel);
        if completion::complete(own, kernel, VCPU, taken.request, sum) {
            vcpu.unpark();
        }
    }
}

#[test]
fn a_read_sees_every_write_before_it() {
    let reads = if cfg!(miri) { 4 } else { 2000 };
    let layout = Layout::new(8, 1).unwrap();
    let channel = Arc::new(Channel {
        layout,
        kernel: Area::new(layout.kernel_area()),
        device: Area::new(layout.device_area()),
    });
    let mut producer = Producer::new(layout, &channel.kernel);
    let device = {
        let (channel, vcpu) = (Arc::clone(&channel), thread::current());
        thread::spawn(move || serve(&channel, &vcpu, reads))
    };
    let (mut number, mut sum) = (0, 0);
    for request in 1..=reads {
        for _ in 0..POSTED {
            number += 1;
            sum += number;
            post(&channel, &mut producer, device.thread(), &access(number, 0));
        }
        post(
            &channel,
            &mut producer,
            device.thread(),
            &access(0, request),
        );
        assert_eq!(receive(&channel, request), sum, "read {request}");
    }
    device.join().unwrap();
}

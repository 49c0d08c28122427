// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! vCPUs that find the ring full, against the device, as `channel/ring.rs` of the driver and
//! `shared_ring.c` have it: a vCPU sleeps until there are other changes than it has seen, and a
//! call of the device counts one if somebody waits.

mod modelled;

use ioregion_ring::consumer::Consumer;
use ioregion_ring::producer::Producer;
use loom::model::Builder;
use loom::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed},
};
use loom::sync::{Arc, Condvar, Mutex, Notify};
use loom::thread;
use modelled::Channel;

/// What waiting vCPUs have to know of, counted.
struct Changes {
    count: AtomicU64,
    queue: Mutex<()>,
    told: Condvar,
}

impl Changes {
    fn new() -> Self {
        Self {
            count: AtomicU64::new(0),
            queue: Mutex::new(()),
            told: Condvar::new(),
        }
    }

    fn seen(&self) -> u64 {
        self.count.load(Acquire)
    }

    fn count(&self) {
        self.count.fetch_add(1, Relaxed);
        drop(self.queue.lock().unwrap());
        self.told.notify_all();
    }

    fn wait_for_others_than(&self, seen: u64) {
        let mut queue = self.queue.lock().unwrap();
        while self.count.load(Relaxed) == seen {
            queue = self.told.wait(queue).unwrap();
        }
    }
}

/// A channel and those who sleep on it.
struct Shared {
    channel: Arc<Channel>,
    producer: Mutex<Producer>,
    changes: Changes,
    wake_device: Notify,
}

impl Shared {
    /// A ring of one slot, and that is in use.
    fn full() -> Arc<Self> {
        let channel = Channel::new(1);
        let mut producer = channel.producer();
        assert!(channel.post(&mut producer, 1));
        Arc::new(Self {
            producer: Mutex::new(producer),
            channel,
            changes: Changes::new(),
            wake_device: Notify::new(),
        })
    }

    fn post(&self, number: u64) -> bool {
        let Channel { kernel, device, .. } = &*self.channel;
        let posted = self
            .channel
            .post(&mut self.producer.lock().unwrap(), number);
        if posted && Producer::must_wake(kernel, device) {
            self.wake_device.notify();
        }
        posted
    }

    /// A vCPU's posted write.
    fn send(&self, number: u64) {
        loop {
            let seen = self.changes.seen();
            if self.post(number) {
                return;
            }
            Producer::want_room(&self.channel.kernel);
            if self.post(number) {
                return;
            }
            self.changes.wait_for_others_than(seen);
        }
    }

    /// What every call of the device does first.
    fn tell_of_room(&self) {
        if Producer::stop_wanting_room(&self.channel.kernel) {
            self.changes.count();
        }
    }

    /// Takes so many accesses; calls only when the ring is empty, and if it has to.
    fn serve(&self, accesses: usize) -> Vec<u64> {
        let Channel { kernel, device, .. } = &*self.channel;
        let mut consumer = self.channel.consumer();
        let mut taken = Vec::new();
        while taken.len() < accesses {
            if let Some(number) = self.channel.next(&mut consumer) {
                taken.push(number);
                continue;
            }
            if Consumer::is_room_wanted(device, kernel) {
                self.tell_of_room();
            }
            if consumer.arm(device, kernel) {
                self.tell_of_room();
                self.wake_device.wait();
                Consumer::disarm(device);
            }
        }
        taken
    }
}

/// So many vCPUs post an access each to a full ring.
fn all_find_room(vcpus: u64, preemptions: Option<usize>) {
    let mut model = Builder::new();
    model.preemption_bound = preemptions;
    model.check(move || {
        let shared = Shared::full();
        let vcpus: Vec<_> = (0..vcpus)
            .map(|vcpu| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.send(2 + vcpu))
            })
            .collect();
        let mut taken = shared.serve(1 + vcpus.len());
        for vcpu in vcpus {
            vcpu.join().unwrap();
        }
        assert_eq!(taken.remove(0), 1);
        taken.sort_unstable();
        assert_eq!(taken, (2..2 + taken.len() as u64).collect::<Vec<_>>());
    });
}

#[test]
fn a_vcpu_that_waits_for_room_is_told() {
    all_find_room(1, None);
}

/// A device that looks by itself asks once, after it took an access.
#[test]
fn a_device_that_never_sleeps_tells_of_room() {
    loom::model(|| {
        let shared = Shared::full();
        let vcpu = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.send(2))
        };
        let Channel { kernel, device, .. } = &*shared.channel;
        let mut consumer = shared.channel.consumer();
        assert_eq!(shared.channel.next(&mut consumer), Some(1));
        if Consumer::is_room_wanted(device, kernel) {
            shared.tell_of_room();
        }
        vcpu.join().unwrap();
        assert_eq!(shared.channel.next(&mut consumer), Some(2));
    });
}

/// With all preemptions this would take hours.
#[test]
fn two_vcpus_that_wait_for_room_are_told() {
    all_find_room(2, Some(2));
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! vCPUs that post, against a device in `IOREGION_CHANNEL_WAIT`, as `shared_ring.c` has it: the
//! first vCPU that finds the device asleep wakes it, and the others rely on that.

mod modelled;

use ioregion_ring::consumer::Consumer;
use ioregion_ring::producer::Producer;
use loom::model::Builder;
use loom::sync::atomic::{
    fence, AtomicBool,
    Ordering::{Relaxed, SeqCst},
};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use modelled::Channel;

/// The device's thread, as `rcuwait` sees it.
struct Task {
    is_runnable: Mutex<bool>,
    runs: Condvar,
}

impl Task {
    /// `set_current_state(TASK_INTERRUPTIBLE)`.
    fn is_about_to_sleep(&self) {
        *self.is_runnable.lock().unwrap() = false;
        fence(SeqCst);
    }

    /// `schedule()`.
    fn sleep(&self) {
        let mut is_runnable = self.is_runnable.lock().unwrap();
        while !*is_runnable {
            is_runnable = self.runs.wait(is_runnable).unwrap();
        }
    }

    /// `rcuwait_wake_up()`.
    fn wake_up(&self) {
        fence(SeqCst);
        *self.is_runnable.lock().unwrap() = true;
        self.runs.notify_one();
    }
}

struct Shared {
    channel: Arc<Channel>,
    producer: Mutex<Producer>,
    task: Task,
    is_woken: AtomicBool,
}

impl Shared {
    fn new(slots: u64) -> Arc<Self> {
        let channel = Channel::new(slots);
        Arc::new(Self {
            producer: Mutex::new(channel.producer()),
            channel,
            task: Task {
                is_runnable: Mutex::new(true),
                runs: Condvar::new(),
            },
            is_woken: AtomicBool::new(false),
        })
    }

    /// A vCPU's posted write, with `wake_waiter()`.
    fn send(&self, number: u64) {
        let Channel { kernel, device, .. } = &*self.channel;
        let mut producer = self.producer.lock().unwrap();
        assert!(self.channel.post(&mut producer, number));
        drop(producer);
        if Producer::must_wake(kernel, device) && !self.is_woken.load(Relaxed) {
            self.is_woken.store(true, Relaxed);
            self.task.wake_up();
        }
    }

    /// `wait_for_access()`.
    fn wait(&self, consumer: &Consumer) {
        loop {
            self.is_woken.store(false, Relaxed);
            self.task.is_about_to_sleep();
            if consumer.is_ready(&self.channel.kernel) {
                return;
            }
            self.task.sleep();
        }
    }

    fn serve(&self, accesses: usize) -> Vec<u64> {
        let Channel { kernel, device, .. } = &*self.channel;
        let mut consumer = self.channel.consumer();
        let mut taken = Vec::new();
        while taken.len() < accesses {
            if let Some(number) = self.channel.next(&mut consumer) {
                taken.push(number);
            } else if consumer.arm(device, kernel) {
                self.wait(&consumer);
                Consumer::disarm(device);
            }
        }
        taken
    }
}

/// Each of so many vCPUs posts an access.
fn the_device_gets_up(vcpus: u64, preemptions: Option<usize>) {
    let mut model = Builder::new();
    model.preemption_bound = preemptions;
    model.check(move || {
        let shared = Shared::new(vcpus.next_power_of_two());
        let vcpus: Vec<_> = (1..=vcpus)
            .map(|number| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.send(number))
            })
            .collect();
        let mut taken = shared.serve(vcpus.len());
        for vcpu in vcpus {
            vcpu.join().unwrap();
        }
        taken.sort_unstable();
        assert_eq!(taken, (1..=taken.len() as u64).collect::<Vec<_>>());
    });
}

#[test]
fn one_vcpu_wakes_a_device_that_waits() {
    the_device_gets_up(1, None);
}

/// At most two preemptions: with all it takes too long.
#[test]
fn of_two_vcpus_one_wakes_a_device_that_waits() {
    the_device_gets_up(2, Some(2));
}

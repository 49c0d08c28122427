// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! KVM's end of a channel, played by a test over a memfd. A wake-up that is missing is a panic.

use std::fs::File;
use std::io::{self, Read, Write};
use std::iter;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use ioregion_ring::completion;
use ioregion_ring::layout::{Layout, CONSUMED_AT};
use ioregion_ring::memory::Memory;
use ioregion_ring::producer::Producer;
use ioregion_ring::slot::Access;
use ioregion_wire::frame::Command;
use ioregion_wire::uapi::IOREGION_CHANNEL_DEVICE_AREA;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::pipe::{pipe_with, PipeFlags};

use super::kernel_end::KernelEnd;
use super::shared_area::{SharedArea, Side};
use super::{RingChannel, RingError};
use crate::memory::sealed_memfd;

/// Longer than anybody sleeps who is woken.
const LOST: Duration = Duration::from_secs(10);

/// A memfd with both areas of a channel, zeroed, at the offsets that a channel has.
pub(crate) fn areas(layout: &Layout) -> File {
    let size = IOREGION_CHANNEL_DEVICE_AREA + layout.device_area() as u64;
    sealed_memfd("channel", size).unwrap()
}

/// KVM, and its vCPUs as far as they make accesses.
#[derive(Debug)]
pub(crate) struct FakeKvm {
    kernel: SharedArea,
    device: SharedArea,
    producer: Producer,
    posted: u64,
    requests: u64,
    /// A byte in here means that an access is in the ring.
    bell: File,
    rung: File,
    wakes: Receiver<Option<u32>>,
}

/// What the device has of it.
#[derive(Debug)]
struct FakeEnd {
    rung: File,
    wakes: Sender<Option<u32>>,
}

impl KernelEnd for FakeEnd {
    fn fd(&self) -> BorrowedFd<'_> {
        self.rung.as_fd()
    }

    fn wake(&self, vcpu: Option<u32>) -> io::Result<()> {
        // Nobody is there to be woken when the test is over.
        let _ = self.wakes.send(vcpu);
        Ok(())
    }

    fn wait(&self, vcpu: Option<u32>) -> io::Result<()> {
        self.wake(vcpu)?;
        let mut fds = [PollFd::new(&self.rung, PollFlags::IN)];
        poll(&mut fds, None)?;
        match fds[0].revents().contains(PollFlags::IN) {
            true => Ok(()),
            false => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl FakeKvm {
    /// A channel: this end, and the device's.
    pub(crate) fn new(slots: u64, vcpus: u64) -> (Self, RingChannel) {
        let layout = Layout::new(slots, vcpus).unwrap();
        let file = areas(&layout);
        let map = |offset, size| SharedArea::map(file.as_fd(), offset, size, Side::Own).unwrap();
        let kernel = map(0, layout.kernel_area());
        let device = map(IOREGION_CHANNEL_DEVICE_AREA, layout.device_area());
        let producer = Producer::new(layout, &kernel);
        let (rung, bell) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (rung, bell) = (File::from(rung), File::from(bell));
        let (sender, wakes) = channel();
        let end = FakeEnd {
            rung: rung.try_clone().unwrap(),
            wakes: sender,
        };
        let ring = RingChannel::map(file.as_fd(), Box::new(end)).unwrap();
        let kvm = Self {
            kernel,
            device,
            producer,
            posted: 0,
            requests: 0,
            bell,
            rung,
            wakes,
        };
        (kvm, ring)
    }

    /// Makes an access and goes on.
    pub(crate) fn post(&mut self, command: &Command) {
        self.put(command, 0, 0);
    }

    /// Makes an access that expects an answer, as number `request` of a vCPU.
    pub(crate) fn ask(&mut self, command: &Command, vcpu: u32, request: u64) {
        self.put(command, vcpu, request);
    }

    /// The vCPU sleeps from now on.
    pub(crate) fn fall_asleep(&self, vcpu: usize) {
        completion::fall_asleep(&self.kernel, vcpu);
    }

    /// Makes an access and sleeps until it is answered.
    pub(crate) fn exchange(&mut self, command: &Command, vcpu: u32) -> u64 {
        self.requests += 1;
        let request = self.requests;
        self.ask(command, vcpu, request);
        loop {
            completion::fall_asleep(&self.kernel, vcpu as usize);
            let answer = completion::answer(&self.device, vcpu as usize, request);
            if answer.is_none() {
                self.expect_wake(|woken| woken == Some(vcpu));
            }
            completion::wake_up(&self.kernel, vcpu as usize);
            if let Some(data) = answer {
                return data;
            }
        }
    }

    fn put(&mut self, command: &Command, vcpu: u32, request: u64) {
        let command = *command;
        let access = Access {
            command,
            vcpu,
            request,
        };
        while !self.try_put(&access) {
            Producer::want_room(&self.kernel);
            if self.try_put(&access) {
                break;
            }
            // Every call of the device tells of room.
            self.expect_wake(|_| true);
        }
        Producer::stop_wanting_room(&self.kernel);
    }

    fn try_put(&mut self, access: &Access) -> bool {
        self.silence_the_bell();
        let posted = self.producer.post(&self.kernel, &self.device, access);
        if posted.is_err() {
            return false;
        }
        self.posted += 1;
        if Producer::must_wake(&self.kernel, &self.device) {
            self.bell.write_all(&[1]).unwrap();
        }
        true
    }

    /// What rang for accesses that are done would let the device run where it should sleep.
    fn silence_the_bell(&mut self) {
        let mut fds = [PollFd::new(&self.rung, PollFlags::IN)];
        let at_once = Timespec::default();
        if self.is_idle() && poll(&mut fds, Some(&at_once)).unwrap() > 0 {
            let count = self.rung.read(&mut [0; 64]).unwrap();
            assert!(count > 0, "there is a writer");
        }
    }

    fn is_idle(&self) -> bool {
        self.device.load(CONSUMED_AT) == self.posted
    }

    /// The last region is gone, after the device has seen everything; the device lets go.
    pub(crate) fn hang_up(mut self) {
        while !self.is_idle() {
            std::thread::yield_now();
        }
        self.silence_the_bell();
        drop(self.bell);
        let last = iter::from_fn(|| Some(self.wakes.recv_timeout(LOST))).find(Result::is_err);
        assert_eq!(last, Some(Err(RecvTimeoutError::Disconnected)));
    }

    /// Sleeps until somebody is woken that `is_right`.
    pub(crate) fn expect_wake(&self, is_right: impl Fn(Option<u32>) -> bool) {
        while !is_right(self.wakes.recv_timeout(LOST).expect("a lost wake-up")) {}
    }
}

/// The device's end of a channel whose kernel area is what `fill` makes of it.
pub(crate) fn broken(fill: impl FnOnce(&SharedArea)) -> Result<RingChannel, RingError> {
    let layout = Layout::new(1, 1).unwrap();
    let file = areas(&layout);
    let kernel = SharedArea::map(file.as_fd(), 0, layout.kernel_area(), Side::Own).unwrap();
    fill(&kernel);
    RingChannel::open(file.into())
}

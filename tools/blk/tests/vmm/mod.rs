// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A VMM without a guest: it attaches device processes, and repeats accesses that one did not
//! answer with the next.

use std::io::ErrorKind;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::event::{poll, PollFd, PollFlags};
use rustix::fs::Timespec;
use shunt::channel::{pair, ChannelEnd, Endpoint, Transport};
use shunt::memory;
use shunt::state::StatePage;
use shunt::vmm::{DeviceProcess, Listener, Resources};
use shunt::{Command, Operation, Width};
use virtio_spec::mmio;
use vm_memory::{GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::EventFd;

use crate::driver::{Machine, MEMORY_SIZE};

/// How the driver's accesses reach the device process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wiring {
    /// A second channel, which stands in for KVM's; without, the VMM's own carries all.
    pub(crate) kvm: Option<Transport>,
    /// `QueueNotify` becomes an event, as with an ioeventfd.
    pub(crate) event: bool,
}

pub(crate) struct Vmm {
    listener: Listener,
    memory: GuestMemoryMmap,
    pub(crate) state: StatePage,
    interrupt: EventFd,
    events: Vec<EventFd>,
    wiring: Wiring,
    process: Option<(DeviceProcess, Option<Endpoint>)>,
}

impl Vmm {
    pub(crate) fn new(socket: &Path, wiring: Wiring) -> Self {
        let eventfd = || EventFd::new(libc::EFD_CLOEXEC).unwrap();
        Self {
            listener: Listener::bind(socket).unwrap(),
            memory: memory::allocate(&[(GuestAddress(0), MEMORY_SIZE)]).unwrap(),
            state: StatePage::create().unwrap(),
            interrupt: eventfd(),
            events: if wiring.event {
                vec![eventfd()]
            } else {
                vec![]
            },
            wiring,
            process: None,
        }
    }

    fn process(&mut self) -> &(DeviceProcess, Option<Endpoint>) {
        while self.process.is_none() {
            let lent = Resources {
                memory: &self.memory,
                state: &self.state,
                interrupt: &self.interrupt,
                vectors: &[],
                events: &self.events,
            };
            let (kvm_end, device_end) = self.wiring.kvm.map(|t| pair(t).unwrap()).unzip();
            let device_end = device_end.map(ChannelEnd::Frames);
            match self.listener.accept().unwrap().attach(&lent, device_end) {
                Ok(process) => self.process = Some((process, kvm_end)),
                Err(e) => assert_gone(&e),
            }
        }
        self.process.as_ref().unwrap()
    }

    fn access(&mut self, register: usize, operation: Operation) -> u32 {
        let command = Command {
            operation,
            width: Width::Long,
            expects_reply: true,
            user_data: 0,
            offset: register as u64,
        };
        loop {
            let result = match self.process() {
                (_, Some(kvm_end)) => kvm_end.exchange(&command),
                (process, None) => process.access(&command),
            };
            match result {
                Ok(reply) => return reply.data as u32,
                Err(e) => {
                    assert_gone(&e);
                    self.process = None;
                }
            }
        }
    }
}

fn assert_gone(e: &std::io::Error) {
    let gone = [
        ErrorKind::UnexpectedEof,
        ErrorKind::BrokenPipe,
        ErrorKind::ConnectionReset,
    ];
    assert!(gone.contains(&e.kind()), "{e}");
}

impl Machine for Vmm {
    fn read(&mut self, register: usize) -> u32 {
        self.access(register, Operation::Read)
    }

    fn write(&mut self, register: usize, value: u32) {
        match self.events.first() {
            Some(event) if register == mmio::QUEUE_NOTIFY => event.write(1).unwrap(),
            _ => drop(self.access(register, Operation::Write(value.into()))),
        }
    }

    fn wait_interrupt(&mut self) {
        let deadline = Timespec {
            tv_sec: 20,
            tv_nsec: 0,
        };
        loop {
            let hangup = self.process().0.hangup_fd().try_clone_to_owned().unwrap();
            // SAFETY: the eventfd outlives the borrow.
            let interrupt = unsafe { BorrowedFd::borrow_raw(self.interrupt.as_raw_fd()) };
            let mut fds = [
                PollFd::from_borrowed_fd(interrupt, PollFlags::IN),
                PollFd::new(&hangup, PollFlags::RDHUP),
            ];
            let ready = poll(&mut fds, Some(&deadline)).unwrap();
            assert_ne!(ready, 0, "an interrupt was lost");
            if !fds[0].revents().is_empty() {
                self.interrupt.read().unwrap();
                return;
            }
            self.process = None;
        }
    }

    fn memory(&self) -> &GuestMemoryMmap {
        &self.memory
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A disk whose device process is killed, at every step of its life, and restarted: the guest
//! notices nothing.

mod crash;
mod driver;

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{poll, PollFd, PollFlags};
use rustix::fs::Timespec;
use shunt::memory;
use shunt::state::StatePage;
use shunt::vmm::{DeviceProcess, Listener, Resources};
use shunt::{Command, Operation, Width};
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use vm_memory::{GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::EventFd;

use crash::Program;
use driver::{Driver, Machine, Request, MEMORY_SIZE, SECTOR};

const SECTORS: usize = 64;

/// A VMM that attaches the next device process when one dies. Its channel stands in for KVM's.
struct Vmm {
    listener: Listener,
    memory: GuestMemoryMmap,
    state: StatePage,
    interrupt: EventFd,
    process: Option<DeviceProcess>,
}

impl Vmm {
    fn new(socket: &Path) -> Self {
        Self {
            listener: Listener::bind(socket).unwrap(),
            memory: memory::allocate(&[(GuestAddress(0), MEMORY_SIZE)]).unwrap(),
            state: StatePage::create().unwrap(),
            interrupt: EventFd::new(libc::EFD_CLOEXEC).unwrap(),
            process: None,
        }
    }

    fn process(&mut self) -> &DeviceProcess {
        while self.process.is_none() {
            let lent = Resources {
                memory: &self.memory,
                state: &self.state,
                interrupt: &self.interrupt,
                events: &[],
            };
            match self.listener.accept().unwrap().attach(&lent, None) {
                Ok(process) => self.process = Some(process),
                Err(e) => assert_gone(&e),
            }
        }
        self.process.as_ref().unwrap()
    }

    /// Repeats an access that a dying process did not answer.
    fn access(&mut self, register: u32, operation: Operation) -> u32 {
        let command = Command {
            operation,
            width: Width::Long,
            expects_reply: true,
            user_data: 0,
            offset: register.into(),
        };
        loop {
            match self.process().access(&command) {
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
    fn read(&mut self, register: u32) -> u32 {
        self.access(register, Operation::Read)
    }

    fn write(&mut self, register: u32, value: u32) {
        self.access(register, Operation::Write(value.into()));
    }

    fn wait_interrupt(&mut self) {
        let deadline = Timespec {
            tv_sec: 20,
            tv_nsec: 0,
        };
        loop {
            // SAFETY: the eventfd outlives the borrow.
            let interrupt =
                unsafe { std::os::fd::BorrowedFd::borrow_raw(self.interrupt.as_raw_fd()) };
            let hangup = self.process().hangup_fd().try_clone_to_owned().unwrap();
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

/// Requests where an order broken or a write done too late would show: two writes to the same
/// sectors with a read between and after.
fn batches() -> Vec<Vec<Request>> {
    let write = |sector, fill, sectors| Request::Write {
        sector,
        fill,
        sectors,
    };
    let read = |sector, want, sectors| Request::Read {
        sector,
        want,
        sectors,
    };
    vec![
        vec![
            write(8, 1, 4),
            read(8, 1, 4),
            write(9, 2, 2),
            read(9, 2, 2),
            read(8, 1, 1),
            write(0, 3, 8),
            Request::Flush,
            write(9, 4, 2),
            read(9, 4, 2),
        ],
        vec![
            read(0, 3, 8),
            write(0, 5, 1),
            write(63, 6, 1),
            read(63, 6, 1),
        ],
    ]
}

/// The disk afterwards.
fn image() -> Vec<u8> {
    let mut image = vec![0; SECTORS * SECTOR];
    for request in batches().into_iter().flatten() {
        if let Request::Write {
            sector,
            fill,
            sectors,
        } = request
        {
            let begin = sector as usize * SECTOR;
            image[begin..begin + sectors * SECTOR].fill(fill);
        }
    }
    image
}

/// The guest's whole life, with device processes that die at these steps. How many did.
fn live_through(directory: &Path, features: u64, deaths: &[usize]) -> usize {
    let program = Program {
        socket: directory.join("socket"),
        image: directory.join("image"),
        over: AtomicBool::new(false),
    };
    File::create(&program.image)
        .unwrap()
        .set_len((SECTORS * SECTOR) as u64)
        .unwrap();
    let vmm = Vmm::new(&program.socket);
    let state = vmm.state.clone();
    let died = std::thread::scope(|scope| {
        let processes = scope.spawn(|| crash::run(&program, deaths));
        let mut driver = Driver::start(vmm, features);
        for batch in batches() {
            driver.submit(&batch);
            driver.notify();
            driver.finish();
        }
        let total = batches().iter().map(Vec::len).sum::<usize>();
        assert_eq!(usize::from(driver.used_index()), total);
        program.over.store(true, Ordering::SeqCst);
        drop(driver);
        processes.join().unwrap()
    });
    assert!(
        std::fs::read(&program.image).unwrap() == image(),
        "image after {deaths:?}"
    );
    let attaches = state.counters().values().attaches as usize;
    assert!(attaches <= died + 1, "{attaches} attaches, {died} deaths");
    died
}

/// Kills a process at every step, `stride` apart, until one survives them all. `later` are the
/// steps at which the processes after it die. The event index feature comes and goes, so that
/// each kind of step meets it on and off.
fn kill_at_every_step(stride: usize, later: impl Fn(usize) -> Vec<usize>) {
    let directory = tempfile::tempdir().unwrap();
    let mut step = 0;
    loop {
        let features = if step / 2 % 2 == 0 {
            0
        } else {
            1 << VIRTIO_RING_F_EVENT_IDX
        };
        let deaths = [vec![step], later(step)].concat();
        if live_through(directory.path(), features, &deaths) == 0 {
            break;
        }
        step += stride;
    }
    assert!(
        step > 150,
        "a life of only {step} steps: the kills were not where they should be"
    );
}

#[test]
fn one_death_at_any_step() {
    kill_at_every_step(1, |_| vec![]);
}

#[test]
fn three_deaths_in_a_row() {
    kill_at_every_step(7, |step| vec![40 + step % 37, 40 + step % 53]);
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A server in a thread, and the moves of a client.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread::JoinHandle;

use rustix::event::{eventfd, EventfdFlags};
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
use rustix::io::Errno;
use shunt::chain::{BadChain, Chain};
use shunt::counters::{CounterValues, Counters};
use shunt::pci::PciDevice;
use shunt::state::StatePage;
use shunt::virtio_device::VirtioDevice;
use shunt::virtio_pci::VirtioPci;
use vfio_user::client::{CallError, Client};
use vfio_user::server::{Server, SessionError};
use vfio_user::wire::*;
use zerocopy::{FromBytes, IntoBytes};

/// Answers each request with one byte.
struct Dot;

impl VirtioDevice for Dot {
    fn device_id(&self) -> u32 {
        2
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &[u16] {
        &[16, 16]
    }

    fn read_config(&self, _: u64, data: &mut [u8]) {
        data.fill(0x5a);
    }

    fn handle(&mut self, _: usize, chain: &Chain<'_>, _: &Counters) -> Result<u32, BadChain> {
        chain.writable().copy_from(0, b".")?;
        Ok(1)
    }
}

pub(crate) type Outcome = Result<CounterValues, SessionError>;

/// A server that serves one client after the other, and says how each session ended.
pub(crate) struct Rig {
    _directory: tempfile::TempDir,
    path: PathBuf,
    thread: JoinHandle<Vec<Outcome>>,
}

impl Rig {
    /// With a server for this many sessions.
    pub(crate) fn new(sessions: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let server = Server::bind(&path).unwrap();
        let thread = std::thread::spawn(move || {
            let mut device = VirtioPci::new(Dot, StatePage::create().unwrap());
            let mut one = || {
                let state = device.state();
                server.serve_next(&mut device)?;
                Ok(state.counters().values())
            };
            (0..sessions).map(|_| one()).collect()
        });
        Self {
            _directory: directory,
            path,
            thread,
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.path).unwrap()
    }

    pub(crate) fn socket(&self) -> UnixStream {
        UnixStream::connect(&self.path).unwrap()
    }

    pub(crate) fn end(self) -> Vec<Outcome> {
        self.thread.join().unwrap()
    }
}

pub(crate) fn refused(outcome: Result<impl std::fmt::Debug, CallError>) -> Errno {
    match outcome {
        Err(CallError::Refused(errno)) => errno,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn long(client: &mut Client, region: u32, offset: u64) -> u32 {
    let mut data = [0; 4];
    client.read(region, offset, &mut data).unwrap();
    u32::from_le_bytes(data)
}

pub(crate) const QUEUE: [u64; 3] = [0x1000, 0x2000, 0x3000];

pub(crate) const BUFFER: u64 = 0x4000;

/// Starts queue 1 of the device, its vector 2, as a driver does.
pub(crate) fn start(client: &mut Client) {
    let mut write = |offset, data: &[u8]| client.write(REGION_BAR0, offset, data).unwrap();
    write(0x14, &[3]);
    write(0x08, &[1, 0, 0, 0]);
    write(0x0c, &[1, 0, 0, 0]);
    write(0x14, &[11]);
    write(0x16, &[1, 0]);
    write(0x1a, &[2, 0]);
    for (offset, area) in (0x20..).step_by(8).zip(QUEUE) {
        write(offset, &(area as u32).to_le_bytes());
    }
    write(0x1c, &[1, 0]);
    write(0x14, &[15]);
    client.write(REGION_CONFIG, 4, &[6, 0]).unwrap();
}

/// Memory with one request for a byte.
fn memory() -> (OwnedFd, u64) {
    let fd = memfd_create("memory", MemfdFlags::CLOEXEC).unwrap();
    let size = 0x8000;
    ftruncate(&fd, size).unwrap();
    let put = |value: u64, address| {
        rustix::io::pwrite(&fd, &value.to_le_bytes(), address).unwrap();
    };
    put(BUFFER, QUEUE[0]);
    put(1 | 2 << 32, QUEUE[0] + 8);
    put(1 << 16, QUEUE[1]);
    (fd, size)
}

/// Lends memory with a request that the server cannot map, and an event for each vector.
pub(crate) fn lend_unshared(client: &mut Client) -> Vec<OwnedFd> {
    let (fd, size) = memory();
    client.memory = vec![0; size as usize];
    rustix::io::pread(&fd, &mut client.memory, 0).unwrap();
    client.map_unshared(size).unwrap();
    let events = events(3);
    let lent: Vec<_> = events.iter().map(AsFd::as_fd).collect();
    client.set_msix_events(&lent).unwrap();
    events
}

/// Whether an event is signalled.
pub(crate) fn is_signalled(event: &OwnedFd) -> bool {
    let mut fds = [rustix::event::PollFd::new(
        event,
        rustix::event::PollFlags::IN,
    )];
    let now = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut fds, Some(&now)).unwrap() == 1
}

/// Lends memory with a request, and an event for each vector.
pub(crate) fn lend(client: &mut Client) -> (OwnedFd, Vec<OwnedFd>) {
    let (fd, size) = memory();
    client.map(0, size, fd.as_fd(), 0).unwrap();
    let events = events(3);
    let lent: Vec<_> = events.iter().map(AsFd::as_fd).collect();
    client.set_msix_events(&lent).unwrap();
    (fd, events)
}

pub(crate) fn byte(fd: &OwnedFd, address: u64) -> u8 {
    let mut byte = [0];
    rustix::io::pread(fd, &mut byte, address).unwrap();
    byte[0]
}

fn events(count: usize) -> Vec<OwnedFd> {
    let one = |_| eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    (0..count).map(one).collect()
}

/// Waits until an event is signalled.
pub(crate) fn wait(event: &OwnedFd) {
    let mut fds = [rustix::event::PollFd::new(
        event,
        rustix::event::PollFlags::IN,
    )];
    let limit = rustix::event::Timespec {
        tv_sec: 20,
        tv_nsec: 0,
    };
    assert_eq!(rustix::event::poll(&mut fds, Some(&limit)), Ok(1));
}

/// A message's bytes.
pub(crate) fn message(command: Command, flags: u32, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        id: 7,
        command: command as u16,
        size: (HEADER_SIZE + payload.len()) as u32,
        flags,
        error: 0,
    };
    [header.as_bytes(), payload].concat()
}

/// The next answer, `None` when the server hung up.
pub(crate) fn answer(socket: &mut UnixStream) -> Option<Vec<u8>> {
    let mut header = [0; HEADER_SIZE];
    socket.read_exact(&mut header).ok()?;
    let header = Header::read_from_bytes(&header).unwrap();
    let mut payload = vec![0; header.size as usize - HEADER_SIZE];
    socket.read_exact(&mut payload).ok()?;
    Some(payload)
}

pub(crate) const VERSION: &[u8] = b"\0\0\x01\0{}\0";

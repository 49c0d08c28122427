// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A device that is being served, and its other side.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;

use ioregion_wire::frame::{Command, Operation, Reply, Width, FRAME_SIZE};
use rustix::net::{socketpair, AddressFamily, SocketFlags, SocketType};
use vm_memory::{GuestAddress, GuestMemoryMmap};

use crate::channel::{pair, Endpoint, Transport};
use crate::ring_channel::RingChannel;
use crate::serve::*;

pub(super) const TRANSPORTS: [Transport; 3] =
    [Transport::Seqpacket, Transport::Stream, Transport::Pipe];

/// Remembers what was written; reads count up, so that their order shows.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Log {
    pub(super) reads: u64,
    pub(super) writes: Vec<(u64, Width, u64)>,
    pub(super) events: Vec<usize>,
    pub(super) work_left: u32,
}

impl Device for Log {
    fn read(&mut self, _: u64, _: Width) -> u64 {
        self.reads += 1;
        self.reads
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) {
        self.writes.push((offset, width, value));
    }

    fn notified(&mut self, index: usize) {
        self.events.push(index);
        self.work_left = 3;
    }

    fn work(&mut self) -> bool {
        self.work_left = self.work_left.saturating_sub(1);
        self.work_left > 0
    }
}

/// A device being served, and everything at its other side.
pub(super) struct Served {
    pub(super) thread: JoinHandle<(Result<(), ServeError>, Log)>,
    pub(super) socket: OwnedFd,
    pub(super) ends: Vec<Endpoint>,
    pub(super) events: Vec<EventFd>,
    pub(super) state: StatePage,
}

impl Served {
    pub(super) fn over(transports: &[Transport]) -> Self {
        Self::with_rings(transports, Vec::new())
    }

    pub(super) fn with_rings(transports: &[Transport], rings: Vec<RingChannel>) -> Self {
        let message = SocketType::SEQPACKET;
        let (socket, device_socket) =
            socketpair(AddressFamily::UNIX, message, SocketFlags::CLOEXEC, None).unwrap();
        let (ends, device_ends): (Vec<_>, Vec<_>) = transports
            .iter()
            .map(|&transport| pair(transport).unwrap())
            .unzip();
        let origins = [Origin::Kvm, Origin::Vmm].into_iter().cycle();
        let events: Vec<_> = (0..2).map(|_| EventFd::new(0).unwrap()).collect();
        let state = StatePage::create().unwrap();
        let session = Session {
            memory: GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 4096)]).unwrap(),
            state: state.clone(),
            interrupt: EventFd::new(0).unwrap(),
            vectors: Vec::new(),
            events: events
                .iter()
                .map(|event| event.try_clone().unwrap())
                .collect(),
            channels: origins.zip(device_ends).collect(),
            rings: rings.into_iter().map(|r| (Origin::Kvm, r)).collect(),
            socket: device_socket,
        };
        let thread = std::thread::spawn(move || {
            let mut log = Log::default();
            (serve(session, &mut log), log)
        });
        Self {
            thread,
            socket,
            ends,
            events,
            state,
        }
    }

    /// Hangs up; the session must have ended well.
    pub(super) fn end(self) -> Log {
        drop(self.socket);
        let (result, log) = self.thread.join().unwrap();
        result.unwrap();
        log
    }

    /// The session must end by itself.
    pub(super) fn error(self) -> ServeError {
        self.thread.join().unwrap().0.unwrap_err()
    }
}

pub(super) fn read_command() -> Command {
    Command {
        operation: Operation::Read,
        width: Width::Long,
        expects_reply: true,
        user_data: 0,
        offset: 0,
    }
}

pub(super) fn write_command(value: u64, expects_reply: bool) -> Command {
    Command {
        operation: Operation::Write(value),
        expects_reply,
        offset: 8,
        ..read_command()
    }
}

pub(super) fn send(end: &Endpoint, command: &Command) {
    end.writer().write_all(&command.encode()).unwrap();
}

pub(super) fn receive(end: &Endpoint) -> u64 {
    let mut frame = [0; FRAME_SIZE];
    end.reader().read_exact(&mut frame).unwrap();
    Reply::decode(&frame).data
}

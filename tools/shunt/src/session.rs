// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The device's end of a session: connect to a VMM and receive what it lends.

use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::path::Path;

use rustix::net::{connect, socket_with, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::EventFd;

use crate::attach::{self, Attach, End, FdIndex};
use crate::channel::Endpoint;
use crate::counters::Origin;
use crate::memory::MemoryError;
use crate::ring_channel::{RingChannel, RingError};
use crate::state::{StateError, StatePage};

/// What a VMM lent to this process. [`serve`](crate::serve::serve) consumes it.
#[derive(Debug)]
pub struct Session {
    /// Guest memory.
    pub memory: GuestMemoryMmap,
    /// The device's registers and counters.
    pub state: StatePage,
    /// Written to interrupt the guest.
    pub interrupt: EventFd,
    /// Written to signal an MSI-X vector, one for each; or none.
    pub vectors: Vec<EventFd>,
    /// Signalled instead of a register write, one for each queue, or none.
    pub events: Vec<EventFd>,
    pub(crate) channels: Vec<(Origin, Endpoint)>,
    pub(crate) rings: Vec<(Origin, RingChannel)>,
    pub(crate) socket: OwnedFd,
}

/// Why a session did not come about.
#[derive(Debug)]
pub enum SessionError {
    /// No connection to the VMM.
    Connect(io::Error),
    /// No attach message, or one that is not understood.
    Receive(io::Error),
    /// The message has another version than this library's.
    Version(u32),
    /// The message names a descriptor that did not come with it.
    NoSuchFd {
        /// The place it names.
        index: usize,
        /// How many came.
        received: usize,
    },
    /// A descriptor could not be duplicated.
    Duplicate(io::Error),
    /// Guest memory could not be mapped.
    Memory(MemoryError),
    /// The state page is unusable.
    State(StateError),
    /// A channel in shared memory is unusable.
    Ring(RingError),
}

impl std::fmt::Display for SessionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(e) => write!(f, "cannot connect to the VMM: {e}"),
            Self::Receive(e) => write!(f, "no attach message from the VMM: {e}"),
            Self::Version(n) => {
                write!(
                    f,
                    "attach message of version {n}, this library has {}",
                    attach::VERSION
                )
            }
            Self::NoSuchFd { index, received } => {
                write!(
                    f,
                    "attach message names descriptor {index}, but {received} came with it"
                )
            }
            Self::Duplicate(e) => write!(f, "cannot duplicate a descriptor: {e}"),
            Self::Memory(e) => e.fmt(f),
            Self::State(e) => e.fmt(f),
            Self::Ring(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for SessionError {}

impl Session {
    /// Connects to the `SOCK_SEQPACKET` socket at `path`, where a VMM listens, and waits for its
    /// attach message.
    ///
    /// # Errors
    ///
    /// See [`SessionError`].
    pub fn connect(path: &Path) -> Result<Self, SessionError> {
        let socket = dial(path).map_err(SessionError::Connect)?;
        let (attach, fds) = attach::receive(&socket).map_err(SessionError::Receive)?;
        if attach.version != attach::VERSION {
            return Err(SessionError::Version(attach.version));
        }
        Self::assemble(socket, &attach, &Received(fds))
    }

    fn assemble(socket: OwnedFd, attach: &Attach, fds: &Received) -> Result<Self, SessionError> {
        let state = StatePage::from_file(fds.file(attach.state)?).map_err(SessionError::State)?;
        let (mut channels, mut rings) = (Vec::new(), Vec::new());
        for channel in &attach.channels {
            match channel.end {
                End::Frames { read, write } => {
                    channels.push((channel.origin, fds.endpoint(read, write)?));
                }
                End::Ring { ring } => rings.push((channel.origin, fds.ring(ring)?)),
            }
        }
        Ok(Self {
            memory: map_memory(attach, fds)?,
            state,
            interrupt: fds.eventfd(attach.interrupt)?,
            vectors: fds.eventfds(&attach.vectors)?,
            events: fds.eventfds(&attach.events)?,
            channels,
            rings,
            socket,
        })
    }
}

fn dial(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

fn map_memory(attach: &Attach, fds: &Received) -> Result<GuestMemoryMmap, SessionError> {
    let mut ranges = Vec::new();
    for region in &attach.memory {
        let offset = FileOffset::new(fds.file(region.fd)?, region.offset);
        ranges.push((
            GuestAddress(region.guest_addr),
            region.size as usize,
            Some(offset),
        ));
    }
    GuestMemoryMmap::from_ranges_with_files(ranges)
        .map_err(|e| SessionError::Memory(MemoryError::Map(e)))
}

/// The descriptors of an attach message. Each use takes a duplicate, as one may be named twice.
struct Received(Vec<OwnedFd>);

impl Received {
    fn fd(&self, index: usize) -> Result<OwnedFd, SessionError> {
        let fd = self.0.get(index).ok_or(SessionError::NoSuchFd {
            index,
            received: self.0.len(),
        })?;
        fd.try_clone().map_err(SessionError::Duplicate)
    }

    fn file(&self, index: usize) -> Result<File, SessionError> {
        Ok(self.fd(index)?.into())
    }

    fn eventfd(&self, index: usize) -> Result<EventFd, SessionError> {
        let raw = self.fd(index)?.into_raw_fd();
        // SAFETY: `raw` is open and nobody else owns it.
        Ok(unsafe { EventFd::from_raw_fd(raw) })
    }

    fn eventfds(&self, indices: &[FdIndex]) -> Result<Vec<EventFd>, SessionError> {
        indices.iter().map(|&index| self.eventfd(index)).collect()
    }

    fn endpoint(&self, read: FdIndex, write: FdIndex) -> Result<Endpoint, SessionError> {
        let reader = self.fd(read)?;
        if read == write {
            return Ok(Endpoint::from_fd(reader));
        }
        Ok(Endpoint::from_fds(reader, self.fd(write)?))
    }

    fn ring(&self, index: FdIndex) -> Result<RingChannel, SessionError> {
        RingChannel::open(self.fd(index)?).map_err(SessionError::Ring)
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A client as small as can be: one command at a time, and its answer.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::io::Errno;
use zerocopy::{FromBytes, IntoBytes};

use crate::capabilities::Capabilities;
use crate::connection::{Connection, Message, Received};
use crate::request::{bytes_of, MAX_FDS};
use crate::wire::{self, Command, Header};

/// Why a command has no answer.
#[derive(Debug)]
pub enum CallError {
    /// The server refused it.
    Refused(Errno),
    /// The socket failed, the server hung up, or its answer is none.
    Io(io::Error),
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(errno) => write!(f, "the server refused: {errno}"),
            Self::Io(e) => write!(f, "no answer from the server: {e}"),
        }
    }
}

impl std::error::Error for CallError {}

impl From<io::Error> for CallError {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

/// A connection on which a version was agreed.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    next_id: u16,
    /// How many commands were sent.
    pub commands: u64,
    /// What the server can do.
    pub server: Capabilities,
    /// Memory from address 0 on that the server has this client read and write.
    pub memory: Vec<u8>,
}

impl Client {
    /// Connects to a server and agrees on a version.
    ///
    /// # Errors
    ///
    /// There is no server, or it refuses.
    pub fn connect(path: &Path) -> Result<Self, CallError> {
        let mut client = Self {
            connection: Connection::new(UnixStream::connect(path)?),
            next_id: 0,
            commands: 0,
            server: Capabilities::default(),
            memory: Vec::new(),
        };
        let version = wire::Version {
            major: wire::MAJOR,
            minor: wire::MINOR,
        };
        let ours = Capabilities {
            max_msg_fds: MAX_FDS,
            write_multiple: true,
            ..Capabilities::default()
        };
        let mut payload = bytes_of(&version);
        payload.extend(ours.to_json().map_err(io::Error::from)?);
        let answer = client.call(Command::Version, &payload, &[])?;
        let json = answer.payload.get(size_of::<wire::Version>()..);
        let json = json.and_then(<[u8]>::split_last).ok_or_else(bad_answer)?.1;
        client.server = Capabilities::from_json(json).map_err(io::Error::from)?;
        Ok(client)
    }

    /// Sends a command and waits for its answer.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn call(
        &mut self,
        command: Command,
        payload: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Message, CallError> {
        self.next_id = self.next_id.wrapping_add(1);
        self.commands += 1;
        let header = Header {
            id: self.next_id,
            command: command as u16,
            ..Header::default()
        };
        self.connection.send(header, payload, fds)?;
        let answer = loop {
            let message = self.receive()?;
            if message.header.flags & wire::TYPE_MASK == wire::TYPE_REPLY {
                break message;
            }
            self.serve(&message)?;
        };
        let found = &answer.header;
        if (found.id, found.command) != (header.id, header.command) {
            return Err(bad_answer().into());
        }
        if found.flags & wire::ERROR != 0 {
            let errno = Errno::from_raw_os_error(found.error as i32);
            return Err(CallError::Refused(errno));
        }
        Ok(answer)
    }

    /// Gives the socket back, with whatever the server has sent and nobody has received.
    pub fn into_socket(self) -> UnixStream {
        self.connection.into_socket()
    }

    fn receive(&mut self) -> io::Result<Message> {
        match self.connection.wait()? {
            Received::Message(message) => Ok(message),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Waits for a command of the server's and carries it out on [`memory`](Self::memory), or
    /// refuses it with `EFAULT` if it is for other memory.
    ///
    /// # Errors
    ///
    /// The server hung up, or sent something else.
    pub fn serve_next(&mut self) -> io::Result<()> {
        let message = self.receive()?;
        self.serve(&message)
    }

    fn serve(&mut self, message: &Message) -> io::Result<()> {
        let (access, data) =
            wire::DmaAccess::read_from_prefix(&message.payload).map_err(|_| bad_answer())?;
        let begin = access.address as usize;
        let place = self.memory.get_mut(begin..begin + access.count as usize);
        let mut header = Header {
            flags: wire::TYPE_REPLY,
            ..message.header
        };
        let mut payload = bytes_of(&access);
        match (Command::from_number(header.command), place) {
            (Some(Command::DmaRead), Some(place)) => payload.extend_from_slice(place),
            (Some(Command::DmaWrite), Some(place)) if place.len() == data.len() => {
                place.copy_from_slice(data);
            }
            _ => {
                header.flags |= wire::ERROR;
                header.error = Errno::FAULT.raw_os_error() as u32;
                payload.clear();
            }
        }
        self.connection.send(header, &payload, &[])
    }

    /// Lends memory from address 0 on that the server cannot map: `size` bytes, of which
    /// [`memory`](Self::memory) should have as many.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn map_unshared(&mut self, size: u64) -> Result<(), CallError> {
        let map = wire::DmaMap {
            argsz: size_of::<wire::DmaMap>() as u32,
            flags: wire::DMA_READABLE | wire::DMA_WRITEABLE,
            size,
            ..wire::DmaMap::default()
        };
        self.call(Command::DmaMap, map.as_bytes(), &[]).map(drop)
    }

    /// Reads `data.len()` bytes of a region.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> Result<(), CallError> {
        let access = wire::RegionAccess {
            offset,
            region,
            count: data.len() as u32,
        };
        let answer = self.call(Command::RegionRead, access.as_bytes(), &[])?;
        let found = answer.payload.get(size_of::<wire::RegionAccess>()..);
        match found {
            Some(found) if found.len() == data.len() => data.copy_from_slice(found),
            _ => return Err(bad_answer().into()),
        }
        Ok(())
    }

    /// Writes a region.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<(), CallError> {
        let access = wire::RegionAccess {
            offset,
            region,
            count: data.len() as u32,
        };
        let mut payload = bytes_of(&access);
        payload.extend_from_slice(data);
        self.call(Command::RegionWrite, &payload, &[]).map(drop)
    }

    /// Lends memory to be read and written.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn map(
        &mut self,
        address: u64,
        size: u64,
        file: BorrowedFd<'_>,
        offset: u64,
    ) -> Result<(), CallError> {
        let map = wire::DmaMap {
            argsz: size_of::<wire::DmaMap>() as u32,
            flags: wire::DMA_READABLE | wire::DMA_WRITEABLE,
            offset,
            address,
            size,
        };
        self.call(Command::DmaMap, map.as_bytes(), &[file])
            .map(drop)
    }

    /// Gives MSI-X vectors from 0 on an event each.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn set_msix_events(&mut self, events: &[BorrowedFd<'_>]) -> Result<(), CallError> {
        let set = wire::IrqSet {
            argsz: size_of::<wire::IrqSet>() as u32,
            flags: wire::SET_EVENTFD | wire::SET_TRIGGER,
            index: wire::IRQ_MSIX,
            start: 0,
            count: events.len() as u32,
        };
        self.call(Command::DeviceSetIrqs, set.as_bytes(), events)
            .map(drop)
    }

    /// The parts of a region that bypass the client, and their descriptors.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn io_fds(
        &mut self,
        index: u32,
    ) -> Result<(Vec<wire::SubRegion>, Vec<OwnedFd>), CallError> {
        let head = size_of::<wire::RegionIoFds>();
        let wanted = wire::RegionIoFds {
            argsz: (head + MAX_FDS * size_of::<wire::SubRegion>()) as u32,
            index,
            ..wire::RegionIoFds::default()
        };
        let answer = self.call(Command::DeviceGetRegionIoFds, wanted.as_bytes(), &[])?;
        let array = answer.payload.get(head..).ok_or_else(bad_answer)?;
        let read = |bytes| wire::SubRegion::read_from_bytes(bytes).map_err(|_| bad_answer());
        let parts = array.chunks(size_of::<wire::SubRegion>()).map(read);
        Ok((parts.collect::<io::Result<_>>()?, answer.fds))
    }
}

fn bad_answer() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not an answer to the command")
}

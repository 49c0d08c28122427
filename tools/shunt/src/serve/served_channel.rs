// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The device's end of one channel: commands in, replies out, never waiting.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};

use ioregion_dispatch::reassembly::{Boundaries, Reassembly};
use ioregion_wire::frame::{Command, Reply, FRAME_SIZE};
use rustix::net::sockopt::socket_type;
use rustix::net::SocketType;

use crate::channel::Endpoint;
use crate::counters::Origin;

use super::ServeError;

/// The device's end of one channel that carries frames.
///
/// Replies are written in the order of their commands. A command is read only when all earlier
/// replies are written, so there is at most one reply to write.
#[derive(Debug)]
pub struct ServedChannel {
    origin: Origin,
    endpoint: Endpoint,
    input: Reassembly,
    output: VecDeque<u8>,
    closed: bool,
}

impl ServedChannel {
    /// Takes an end over and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// Those of `fcntl(2)` and `getsockopt(2)`.
    pub fn new(origin: Origin, endpoint: Endpoint) -> io::Result<Self> {
        for fd in [endpoint.read_fd(), endpoint.write_fd()] {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        let boundaries = match socket_type(endpoint.read_fd()) {
            Ok(SocketType::SEQPACKET | SocketType::DGRAM) => Boundaries::Kept,
            Ok(_) | Err(rustix::io::Errno::NOTSOCK) => Boundaries::Lost,
            Err(e) => return Err(e.into()),
        };
        Ok(Self {
            origin,
            endpoint,
            input: Reassembly::new(boundaries),
            output: VecDeque::with_capacity(FRAME_SIZE),
            closed: false,
        })
    }

    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    /// Readable when there is something to [`receive`](Self::receive).
    pub fn read_fd(&self) -> RawFd {
        self.endpoint.read_fd().as_raw_fd()
    }

    pub(super) fn write_fd(&self) -> RawFd {
        self.endpoint.write_fd().as_raw_fd()
    }

    /// The other end hung up. What it had not finished to send is no command.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// A reply waits for room.
    pub fn is_blocked(&self) -> bool {
        !self.output.is_empty()
    }

    /// Reads once, and carries out the command that this completes, if it does.
    ///
    /// # Errors
    ///
    /// The other end sent what is no command, or reading failed.
    pub fn receive(&mut self, perform: impl FnOnce(&Command) -> Reply) -> Result<(), ServeError> {
        let origin = self.origin;
        let count = match self.endpoint.reader().read(self.input.space()) {
            Ok(count) => count,
            Err(e) => return self.not_ready_or_closed(e),
        };
        if count == 0 {
            self.closed = true;
            return Ok(());
        }
        let frame = self
            .input
            .received(count)
            .map_err(|e| ServeError::MessageLength {
                origin,
                length: e.0,
            })?;
        if let Some(frame) = frame {
            let command = Command::decode(&frame)
                .map_err(|cause| ServeError::BadCommand { origin, cause })?;
            let reply = perform(&command);
            if command.expects_reply {
                self.output.extend(reply.encode());
            }
        }
        Ok(())
    }

    /// Writes of the reply what there is room for.
    ///
    /// # Errors
    ///
    /// Writing failed.
    pub fn send(&mut self) -> Result<(), ServeError> {
        while !self.output.is_empty() && !self.closed {
            match self.endpoint.writer().write(self.output.make_contiguous()) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => self.not_ready_or_closed(e)?,
            }
        }
        Ok(())
    }

    fn not_ready_or_closed(&mut self, e: io::Error) -> Result<(), ServeError> {
        match e.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(()),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            _ => Err(e.into()),
        }
    }
}

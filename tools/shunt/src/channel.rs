// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Channels: pairs of file descriptors that carry [`ioregion_wire::frame`]s. The kind without
//! frames, in shared memory, is in [`ring_channel`](crate::ring_channel).
//!
//! Writing to a channel whose other end is gone must fail with `EPIPE`. That needs `SIGPIPE` to
//! be ignored, which the Rust runtime does before `main`; leave it so.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ioregion_wire::frame::{Command, Reply, FRAME_SIZE};
use rustix::net::{socketpair, AddressFamily, SocketFlags, SocketType};
use rustix::pipe::{pipe_with, PipeFlags};
use serde::{Deserialize, Serialize};

/// What a channel is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// `socketpair(AF_UNIX, SOCK_SEQPACKET)`: one frame is one message.
    Seqpacket,
    /// `socketpair(AF_UNIX, SOCK_STREAM)`: frames back to back.
    Stream,
    /// Two pipes, one for each direction.
    Pipe,
}

/// One end of a channel. Dropping it hangs up, unless the descriptors live on elsewhere.
#[derive(Debug)]
pub struct Endpoint {
    read: File,
    write: Option<File>,
}

impl Endpoint {
    /// An end that reads and writes one descriptor.
    pub fn from_fd(both: OwnedFd) -> Self {
        Self {
            read: both.into(),
            write: None,
        }
    }

    /// An end that reads one descriptor and writes another.
    pub fn from_fds(read: OwnedFd, write: OwnedFd) -> Self {
        Self {
            read: read.into(),
            write: Some(write.into()),
        }
    }

    /// Where the other end's frames arrive.
    pub fn read_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }

    /// Where frames for the other end go; may be [`read_fd`](Self::read_fd).
    pub fn write_fd(&self) -> BorrowedFd<'_> {
        self.writer().as_fd()
    }

    /// One descriptor serves both directions.
    pub fn is_single(&self) -> bool {
        self.write.is_none()
    }

    pub(crate) fn reader(&self) -> &File {
        &self.read
    }

    pub(crate) fn writer(&self) -> &File {
        self.write.as_ref().unwrap_or(&self.read)
    }

    /// Sends a command and, when it expects one, waits for the reply. The descriptors must be
    /// blocking, and this end's only user must be this call: it takes the next reply for its own.
    ///
    /// # Errors
    ///
    /// - `UnexpectedEof`: the device hung up before it replied.
    /// - `BrokenPipe`: it was gone already.
    /// - what else reading and writing the descriptors yields.
    pub fn exchange(&self, command: &Command) -> io::Result<Reply> {
        self.writer().write_all(&command.encode())?;
        let mut frame = [0; FRAME_SIZE];
        if command.expects_reply {
            self.reader().read_exact(&mut frame)?;
        }
        Ok(Reply::decode(&frame))
    }
}

/// An end of a channel between KVM and a device.
#[derive(Debug)]
pub enum ChannelEnd {
    /// One that carries frames.
    Frames(Endpoint),
    /// One in shared memory, of [`ioregion::create_channel`](crate::ioregion::create_channel):
    /// a duplicate of the one descriptor.
    Ring(OwnedFd),
}

/// Makes a channel: the end of KVM or the VMM first, then the device's. Descriptors are
/// close-on-exec and blocking.
///
/// # Errors
///
/// Those of `socketpair(2)` and `pipe(2)`: no descriptors or memory left.
pub fn pair(transport: Transport) -> io::Result<(Endpoint, Endpoint)> {
    let socket_type = match transport {
        Transport::Seqpacket => SocketType::SEQPACKET,
        Transport::Stream => SocketType::STREAM,
        Transport::Pipe => return pipe_pair(),
    };
    let (a, b) = socketpair(AddressFamily::UNIX, socket_type, SocketFlags::CLOEXEC, None)?;
    Ok((Endpoint::from_fd(a), Endpoint::from_fd(b)))
}

fn pipe_pair() -> io::Result<(Endpoint, Endpoint)> {
    let (command_out, command_in) = pipe_with(PipeFlags::CLOEXEC)?;
    let (reply_out, reply_in) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((
        Endpoint::from_fds(reply_out, command_in),
        Endpoint::from_fds(command_out, reply_in),
    ))
}

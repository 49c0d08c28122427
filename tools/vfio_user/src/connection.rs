// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Messages and their descriptors over a stream socket.
//!
//! A message's descriptors come with its first byte. The reader never reads beyond the end of a
//! message, so that the next one's descriptors come when that is read.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{
    recvmsg, sendmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use zerocopy::{FromBytes, IntoBytes};

use crate::request::{MAX_FDS, MAX_MESSAGE};
use crate::wire::{Header, HEADER_SIZE};

/// A message, whole.
#[derive(Debug)]
pub struct Message {
    /// Its header.
    pub header: Header,
    /// What follows the header.
    pub payload: Vec<u8>,
    /// The descriptors that came with it. They are close-on-exec.
    pub fds: Vec<OwnedFd>,
}

/// What [`Connection::receive`] found.
#[derive(Debug)]
pub enum Received {
    /// A message.
    Message(Message),
    /// Not yet all of one.
    Nothing,
    /// The other end hung up.
    End,
}

/// One end of the socket.
#[derive(Debug)]
pub struct Connection {
    socket: UnixStream,
    /// The bytes that came of the message that is being received: at first its header.
    input: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Connection {
    /// Takes a connected socket over.
    pub fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            input: Vec::new(),
            fds: Vec::new(),
        }
    }

    /// Gives the socket back.
    pub fn into_socket(self) -> UnixStream {
        self.socket
    }

    /// The next message, if it is there. Does not wait.
    ///
    /// # Errors
    ///
    /// - `InvalidData`: a header with a size that cannot be, or more descriptors than
    ///   [`MAX_FDS`]; where the next message begins is not known then.
    /// - `UnexpectedEof`: the other end hung up within a message.
    /// - those of `recvmsg(2)`.
    pub fn receive(&mut self) -> io::Result<Received> {
        self.take(RecvFlags::DONTWAIT)
    }

    /// The next message; waits for it.
    ///
    /// # Errors
    ///
    /// Those of [`receive`](Self::receive).
    pub fn wait(&mut self) -> io::Result<Received> {
        self.take(RecvFlags::empty())
    }

    fn take(&mut self, flags: RecvFlags) -> io::Result<Received> {
        loop {
            let size = self.size()?;
            if self.input.len() == size {
                return Ok(Received::Message(self.finish()?));
            }
            match self.read(size, flags) {
                Ok(0) if self.input.is_empty() => return Ok(Received::End),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Received::Nothing),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(Received::End),
                Err(e) => return Err(e),
            }
        }
    }

    /// Bytes of the message as far as they are known: those of a header until that is there.
    fn size(&self) -> io::Result<usize> {
        let Ok((header, _)) = Header::read_from_prefix(&self.input) else {
            return Ok(HEADER_SIZE);
        };
        let size = header.size as usize;
        if !(HEADER_SIZE..=MAX_MESSAGE).contains(&size) {
            return Err(invalid(format!("a message of {size} bytes")));
        }
        Ok(size)
    }

    fn finish(&mut self) -> io::Result<Message> {
        let (header, payload) = Header::read_from_prefix(&self.input)
            .map_err(|_| invalid("a message without a header".to_owned()))?;
        let payload = payload.to_vec();
        self.input.clear();
        Ok(Message {
            header,
            payload,
            fds: std::mem::take(&mut self.fds),
        })
    }

    /// Reads once, up to `size` bytes of the message in all.
    fn read(&mut self, size: usize, flags: RecvFlags) -> io::Result<usize> {
        let had = self.input.len();
        // A sender that promises much and sends little does not get the memory for it.
        self.input.resize(size.min(had + READ_AT_ONCE), 0);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut iov = [IoSliceMut::new(&mut self.input[had..])];
        let result = recvmsg(
            &self.socket,
            &mut iov,
            &mut control,
            flags | RecvFlags::CMSG_CLOEXEC,
        );
        let count = result.as_ref().map_or(0, |message| message.bytes);
        self.input.truncate(had + count);
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        if self.fds.len() > MAX_FDS || result?.flags.contains(ReturnFlags::CTRUNC) {
            return Err(invalid("more descriptors than a message takes".to_owned()));
        }
        Ok(count)
    }

    /// Sends a message; its size is set in the header. Waits for room.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` when the other end is gone, `InvalidInput` for a message that is too long, and
    /// those of `sendmsg(2)`.
    pub fn send(
        &self,
        mut header: Header,
        payload: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let size = HEADER_SIZE + payload.len();
        if size > MAX_MESSAGE || fds.len() > MAX_FDS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        header.size = size as u32;
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(payload);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut sent = 0;
        while sent < size {
            let iov = [IoSlice::new(&bytes[sent..])];
            match sendmsg(&self.socket, &iov, &mut control, SendFlags::NOSIGNAL) {
                Ok(count) => {
                    sent += count;
                    control = SendAncillaryBuffer::default();
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}

/// Most bytes of room that one read makes.
const READ_AT_ONCE: usize = 64 * 1024;

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

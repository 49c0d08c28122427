// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The session socket after the attach message: its end, and requests to drain.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{recv, send, RecvFlags, SendFlags};

use super::ServeError;

const REQUEST_SIZE: usize = 8;

#[derive(Debug)]
pub(super) struct Drain {
    socket: OwnedFd,
    /// The last request, until it is answered.
    request: Option<[u8; REQUEST_SIZE]>,
}

impl Drain {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            request: None,
        }
    }

    pub(super) fn is_requested(&self) -> bool {
        self.request.is_some()
    }

    /// The socket is readable: takes a request. False when the VMM hung up.
    pub(super) fn take_request(&mut self) -> Result<bool, ServeError> {
        let mut bytes = [0; REQUEST_SIZE + 1];
        match recv(&self.socket, &mut bytes[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) | Err(Errno::CONNRESET) => return Ok(false),
            Ok((REQUEST_SIZE, _)) => {}
            Ok(_) => return Err(ServeError::UnexpectedMessage),
            Err(e) => return Err(ServeError::Io(e.into())),
        }
        self.request = bytes.first_chunk().copied();
        Ok(true)
    }

    /// Nothing is left to do: says so to who asked.
    pub(super) fn answer(&mut self) -> Result<(), ServeError> {
        let Some(request) = self.request.take() else {
            return Ok(());
        };
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match send(&self.socket, &request, flags) {
            // The hang-up will show where the socket is read.
            Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(e) => Err(ServeError::Io(e.into())),
        }
    }
}

// SPDX-License-Identifier: GPL-2.0-only

//! Pipes and sockets to a process that is not trusted.

use crate::{
    ffi,
    Changes,
    Deadline, //
};
use core::ffi::c_void;
use kernel::{
    error::to_result,
    fs::{
        file::LocalFile,
        File, //
    },
    prelude::*,
    sync::aref::ARef, //
};

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the peer to us.
    Read,
    /// From us to the peer.
    Write,
}

/// One end of a pipe or socket.
///
/// No method but [`Self::wait`] sleeps for the peer, and none lets the peer send a signal.
pub struct PeerFile {
    file: ARef<File>,
    direction: Direction,
}

impl PeerFile {
    /// Takes a reference to the file behind a descriptor of the current process. To be called
    /// from an ioctl.
    ///
    /// # Errors
    ///
    /// - `EBADF`: there is no such descriptor, or it is not open for this direction.
    /// - `EINVAL`: it is neither a pipe nor a socket, or it is in non-blocking mode.
    pub fn from_fd(fd: i32, direction: Direction) -> Result<Self> {
        let fd = u32::try_from(fd).map_err(|_| EBADF)?;
        let local = LocalFile::fget(fd)?;
        // SAFETY: An ioctl holds its own file by `fdget`, not by `fdget_pos`, and no other file.
        let file = unsafe { LocalFile::assume_no_fdget_pos(local) };
        let peer = Self { file, direction };
        // SAFETY: The file is valid.
        to_result(unsafe { ffi::shunt_file_check(peer.as_ptr(), peer.is_write()) })?;
        Ok(peer)
    }

    /// Whether both are ends of the very same open file.
    pub fn is_same_file(&self, other: &Self) -> bool {
        self.as_ptr() == other.as_ptr()
    }

    /// Whether one read yields one message of the peer.
    pub fn keeps_messages(&self) -> bool {
        // SAFETY: The file is valid.
        unsafe { ffi::shunt_file_keeps_messages(self.as_ptr()) }
    }

    /// Reads what is there, 0 bytes at the end of the file.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if nothing is there; else as `read(2)`.
    #[inline]
    pub fn read(&self, buf: &mut [u8]) -> Result<usize> {
        // SAFETY: The file is valid, and so is the buffer for its length.
        let n = unsafe { ffi::shunt_file_read(self.as_ptr(), buf.as_mut_ptr().cast(), buf.len()) };
        usize::try_from(n).map_err(|_| Error::from_errno(n as i32))
    }

    /// Writes as much as there is room for.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if there is no room; `EPIPE` or `ECONNRESET` if the peer is gone; else as
    /// `write(2)`.
    #[inline]
    pub fn write(&self, buf: &[u8]) -> Result<usize> {
        // SAFETY: The file is valid, and so is the buffer for its length.
        let n = unsafe { ffi::shunt_file_write(self.as_ptr(), buf.as_ptr().cast(), buf.len()) };
        usize::try_from(n).map_err(|_| Error::from_errno(n as i32))
    }

    /// Whether a read would yield something: bytes, the end of the file, or an error.
    #[inline]
    pub fn is_readable(&self) -> bool {
        // SAFETY: The file is valid.
        unsafe { ffi::shunt_file_readable(self.as_ptr()) }
    }

    /// Sleeps until the file is ready for its direction, or `changes` no longer counts `seen`.
    ///
    /// # Errors
    ///
    /// `EINTR`: a signal is pending. `ETIMEDOUT`: the deadline came. `ENOMEM`.
    #[inline]
    pub fn wait(&self, changes: &Changes, seen: u32, deadline: Deadline) -> Result {
        // SAFETY: The counter and the file are valid.
        to_result(unsafe {
            ffi::shunt_wait(
                changes.as_ptr(),
                seen,
                self.as_ptr(),
                self.is_write(),
                deadline.as_raw(),
            )
        })
    }

    #[inline]
    fn is_write(&self) -> bool {
        self.direction == Direction::Write
    }

    #[inline]
    fn as_ptr(&self) -> *mut c_void {
        self.file.as_ptr().cast()
    }
}

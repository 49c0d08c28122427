// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Blocks until one of several descriptors has something to read, by poll(2): unlike epoll(7) it
//! takes every kind of file, so stdin may be a regular file or /dev/null.

use std::os::fd::{AsRawFd, BorrowedFd};

use anyhow::{Context, Result};
use rustix::{
    event::{poll, PollFd, PollFlags},
    io::Errno,
};

/// Waits for input, end of file or an error on any of `sources`; answers which of them have it.
/// A signal may end the wait with none.
///
/// # Errors
///
/// When poll(2) fails.
pub(crate) fn wait<const N: usize>(sources: [&dyn AsRawFd; N]) -> Result<[bool; N]> {
    let mut fds = sources.map(|source| {
        // SAFETY: The caller's reference keeps the descriptor open until after poll().
        let fd = unsafe { BorrowedFd::borrow_raw(source.as_raw_fd()) };
        PollFd::from_borrowed_fd(fd, PollFlags::IN)
    });
    match poll(&mut fds, None) {
        Ok(_) => Ok(fds.map(|fd| !fd.revents().is_empty())),
        Err(Errno::INTR) => Ok([false; N]),
        Err(error) => Err(error).context("cannot wait for events"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Write, os::unix::net::UnixStream};

    #[test]
    fn input_and_hang_up_are_both_ready() {
        let (quiet, _peer) = UnixStream::pair().unwrap();
        let (with_input, mut writer) = UnixStream::pair().unwrap();
        let (hung_up, closed) = UnixStream::pair().unwrap();
        writer.write_all(b"x").unwrap();
        drop(closed);
        let ready = wait([&quiet, &with_input, &hung_up]).unwrap();
        assert_eq!(ready, [false, true, true]);
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Page faults that never end.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{ensure, Context, Result};
use libc::c_int;

use super::{outcome, read_some, Mapping};

/// `struct uffdio_api`: version, features, ioctls.
type UffdioApi = [u64; 3];
/// `struct uffdio_register`: start, length, mode, ioctls.
type UffdioRegister = [u64; 4];
/// `_IOWR(0xAA, 0x3F, struct uffdio_api)`.
const UFFDIO_API: libc::Ioctl = 0xc018_aa3f;
/// `_IOWR(0xAA, 0x00, struct uffdio_register)`.
const UFFDIO_REGISTER: libc::Ioctl = 0xc020_aa00;
const UFFD_API: u64 = 0xaa;
const UFFDIO_REGISTER_MODE_MISSING: u64 = 1;

/// A userfaultfd that never resolves a fault.
#[derive(Debug)]
pub(crate) struct FaultTrap(OwnedFd);

impl FaultTrap {
    /// Fails if the kernel or the user has none.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: userfaultfd takes an integer.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
        let fd = outcome(fd as c_int)?;
        // SAFETY: the kernel has just made it, for us.
        let trap = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        let mut api: UffdioApi = [UFFD_API, 0, 0];
        // SAFETY: the kernel reads and writes one `struct uffdio_api`.
        outcome(unsafe { libc::ioctl(fd, UFFDIO_API, &raw mut api) })?;
        Ok(trap)
    }

    /// Nobody who touches a page of the mapping for the first time comes back from it.
    pub(crate) fn set(&self, mapping: &Mapping) -> io::Result<()> {
        let mut register: UffdioRegister = [
            mapping.address(),
            mapping.size() as u64,
            UFFDIO_REGISTER_MODE_MISSING,
            0,
        ];
        // SAFETY: the kernel reads and writes one `struct uffdio_register`.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), UFFDIO_REGISTER, &raw mut register) };
        outcome(result).map(drop)
    }

    /// Returns when somebody has been caught.
    pub(crate) fn wait(&self) -> Result<()> {
        let mut message = [0; 32];
        let len = read_some(self.0.as_raw_fd(), &mut message).context("read a fault")?;
        ensure!(len == message.len(), "a message of {len} bytes");
        Ok(())
    }
}

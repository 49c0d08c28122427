// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What can go wrong around a guest.

use std::fmt;
use std::io;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a guest could not be built or run.
#[derive(Debug)]
pub enum Error {
    /// A system call or a KVM ioctl failed.
    Call {
        /// Which one.
        call: &'static str,
        /// Its errno.
        source: io::Error,
    },
    /// Bytes outside the guest's RAM.
    OutOfRam {
        /// First byte asked for.
        address: u64,
        /// How many bytes.
        len: usize,
    },
    /// A program is larger than the room of a vCPU.
    ProgramTooLarge {
        /// Bytes of the program.
        len: usize,
        /// Bytes of room, [`crate::ram::CODE_SIZE`].
        room: usize,
    },
    /// There is no code room for so many vCPUs.
    TooManyVcpus {
        /// Most that fit, [`crate::ram::MAX_VCPUS`].
        most: usize,
    },
}

impl Error {
    /// The errno of the last system call, with the call's name.
    pub(crate) fn last(call: &'static str) -> Self {
        Self::Call {
            call,
            source: io::Error::last_os_error(),
        }
    }

    /// Of an access to the guest's memory.
    pub(crate) fn out_of_ram(address: u64, len: usize) -> Self {
        Self::OutOfRam { address, len }
    }

    /// Gives a KVM error the name of its ioctl.
    pub(crate) fn kvm(call: &'static str) -> impl Fn(kvm_ioctls::Error) -> Self {
        move |error| Self::Call {
            call,
            source: io::Error::from_raw_os_error(error.errno()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call { call, source } => write!(f, "{call}: {source}"),
            Self::OutOfRam { address, len } => {
                write!(f, "{len} bytes at {address:#x} are not in guest RAM")
            }
            Self::ProgramTooLarge { len, room } => {
                write!(f, "program of {len} bytes does not fit in {room}")
            }
            Self::TooManyVcpus { most } => write!(f, "more than {most} vCPUs"),
        }
    }
}

impl std::error::Error for Error {}

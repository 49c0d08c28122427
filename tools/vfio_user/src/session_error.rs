// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! How a session ends, when it does not end well.

use std::io;

use crate::wire;

/// Why a session ended other than by the client's hanging up.
#[derive(Debug)]
pub enum SessionError {
    /// Waiting, or the socket, failed; or what came was no message.
    Io(io::Error),
    /// The client speaks another version.
    Version {
        /// Its major version.
        major: u16,
        /// Its minor version.
        minor: u16,
    },
    /// The first command was another than `VFIO_USER_VERSION`, or was not understood.
    NoVersion,
    /// An answer to one of this server's commands, or to none.
    BadAnswer(BadAnswer),
}

impl std::fmt::Display for SessionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(e) => write!(f, "cannot serve the client: {e}"),
            Self::Version { major, minor } => {
                let (our_major, our_minor) = (wire::MAJOR, wire::MINOR);
                write!(f, "the client speaks vfio-user {major}.{minor}, this server {our_major}.{our_minor}")
            }
            Self::NoVersion => write!(f, "the client did not begin with its version"),
            Self::BadAnswer(BadAnswer::Unexpected) => {
                write!(f, "the client answered what was not asked")
            }
            Self::BadAnswer(BadAnswer::Length) => {
                write!(
                    f,
                    "the client answered with other data than those asked for"
                )
            }
        }
    }
}

impl std::error::Error for SessionError {}

impl From<io::Error> for SessionError {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

/// An answer that the protocol does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadAnswer {
    /// To what was not asked.
    Unexpected,
    /// It has not the data that were asked for.
    Length,
}

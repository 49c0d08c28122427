// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The serve loop of a device process.

use ioregion_wire::frame::BadCommand;

use crate::counters::Origin;
use crate::device::Device;
use crate::session::Session;

/// Why a session ended other than by the VMM's hanging up.
#[derive(Debug)]
pub enum ServeError {
    /// Waiting, or reading or writing a channel, failed.
    Io(std::io::Error),
    /// A channel carried something that is no command.
    BadCommand {
        /// Whose channel it was.
        origin: Origin,
        /// What is wrong with it.
        cause: BadCommand,
    },
    /// A message channel carried a message of another length than a command's.
    MessageLength {
        /// Whose channel it was.
        origin: Origin,
        /// Bytes of the message.
        length: usize,
    },
    /// The VMM sent something over the session socket after the attach message.
    UnexpectedMessage,
}

/// Serves `device` over all channels and events of `session` until the VMM hangs up.
///
/// # Errors
///
/// See [`ServeError`]; each ends the session.
pub fn serve(session: Session, device: &mut dyn Device) -> Result<(), ServeError> {
    todo!()
}

impl std::fmt::Display for ServeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(e) => write!(f, "cannot serve: {e}"),
            Self::BadCommand { origin, cause } => {
                write!(f, "bad command on the channel from {origin:?}: {cause:?}")
            }
            Self::MessageLength { origin, length } => {
                write!(
                    f,
                    "a message of {length} bytes on the channel from {origin:?}"
                )
            }
            Self::UnexpectedMessage => {
                write!(f, "the VMM sent a message after the attach message")
            }
        }
    }
}

impl std::error::Error for ServeError {}

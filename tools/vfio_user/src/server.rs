// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Waits for a client, serves it, waits for the next: one at a time.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use shunt::pci::PciDevice;
use vm_memory::GuestMemoryMmap;

use crate::connection::Connection;
use crate::session::Session;

pub use crate::session_error::{BadAnswer, SessionError};

/// A socket at which clients call.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
}

impl Server {
    /// Listens at `path`. A socket that a dead server left there is removed.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when another server listens there, or something else than a socket lies there;
    /// and those of `bind(2)`.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if is_abandoned(path) {
            fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        Ok(Self { listener })
    }

    /// Waits for a client and serves `device` to it until it hangs up. Then the device has no
    /// memory any more and is reset: the next client finds it as this one did.
    ///
    /// # Errors
    ///
    /// See [`SessionError`]; each ends this session, and a next one may begin.
    pub fn serve_next(&self, device: &mut impl PciDevice) -> Result<(), SessionError> {
        let (socket, _) = self.listener.accept()?;
        let connection = Connection::new(socket);
        let outcome = Session::new(device, connection)
            .map_err(SessionError::from)
            .and_then(Session::run);
        device.set_memory(GuestMemoryMmap::default(), Vec::new());
        device.reset();
        outcome
    }
}

/// Whether a socket lies at `path` that nobody listens at.
fn is_abandoned(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket());
    let refused = |e: io::Error| e.kind() == io::ErrorKind::ConnectionRefused;
    is_socket && UnixStream::connect(path).is_err_and(refused)
}

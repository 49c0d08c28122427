// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The two ends of vfio-user on this machine: our server, and a QEMU whose guest it serves.

mod client;
mod server;

pub(crate) use client::{Guest, Memory, Seen};
pub(crate) use server::Server;

/// The server's socket, in the directory in which both run: a path from the root may be too long
/// for a socket.
pub(crate) const SOCKET: &str = "disk.sock";

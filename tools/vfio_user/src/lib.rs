// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! vfio-user: a PCI device of this process as a device of a VMM, over a Unix socket.
//!
//! The protocol is QEMU's `docs/interop/vfio-user.rst`, version 0.1. The VMM is the *client*: it
//! sends commands, mostly those of VFIO's ioctls as messages, and file descriptors with them. This
//! process is the *server*.
//!
//! ```text
//!  client                        |  server
//!  VERSION, DEVICE_GET_INFO, ... |  session     the device says what it is
//!  DMA_MAP            + memory --|->  dma       the device reaches guest memory
//!  DMA_READ, DMA_WRITE        <--|--  transfers   ... or has it read and written, if it cannot map it
//!  DEVICE_SET_IRQS    + events --|->  irqs      the device interrupts the guest
//!  REGION_READ, REGION_WRITE     |  session     configuration space, BARs -> shunt::pci::PciDevice
//!  GET_REGION_IO_FDS <- channel  |  fast_io     KVM talks to the device without the client:
//!      KVM_SET_IOREGION,         |              ioregionfd for registers, ioeventfds for
//!      KVM_IOEVENTFD             |              notifications
//! ```
//!
//! | module | |
//! |---|---|
//! | [`wire`] | layout of messages |
//! | [`request`] | a client's bytes, checked |
//! | [`capabilities`] | what the two ends tell each other at first |
//! | [`connection`] | messages and descriptors over the socket |
//! | [`server`] | waits for a client, serves it, waits for the next |
//! | [`client`] | a small client, for tests |
//!
//! Nothing that a client sends is trusted: a command that is not one gets an errno for an answer; bytes
//! that are no message end the session. One thing is not checked, as it cannot be: a client
//! that shortens a file after it lent it as memory kills the server (`SIGBUS`). A memfd that is
//! sealed against shrinking has no such hole.
#![forbid(unsafe_code)]

pub mod capabilities;
pub mod client;
pub mod connection;
mod dma;
mod fast_io;
mod irqs;
pub mod request;
pub mod server;
mod session;
mod session_error;
mod transfers;
pub mod wire;

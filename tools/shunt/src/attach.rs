// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The attach message: what a VMM hands to a device process, once, over its session socket.
//!
//! One `SOCK_SEQPACKET` message. Its bytes are JSON, its `SCM_RIGHTS` the descriptors; the JSON
//! names a descriptor by its place among them:
//!
//! ```json
//! {"version":3,
//!  "memory":[{"guest_addr":0,"size":134217728,"offset":0,"fd":0}],
//!  "state":1, "interrupt":2, "vectors":[], "events":[3],
//!  "channels":[{"origin":"vmm","read":4,"write":4},{"origin":"kvm","read":5,"write":6},
//!              {"origin":"kvm","ring":7}]}
//! ```
//!
//! A channel is a descriptor to read commands from and one to write replies to, or a ring in
//! shared memory, which has one. `state` is the state page with the shadow registers behind it.
//!
//! Later messages over the socket are requests to drain, 8 bytes each, which the device process
//! sends back when it is done; see [`DeviceProcess::drain`](crate::vmm::DeviceProcess::drain).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    recvmsg, sendmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use serde::{Deserialize, Serialize};

use crate::counters::Origin;

/// Version of the message that this library speaks.
pub(crate) const VERSION: u32 = 3;

/// Most descriptors of one message: the kernel's `SCM_MAX_FD`.
const MAX_FDS: usize = 253;
const MAX_BYTES: usize = 64 * 1024;

/// Place of a descriptor among those of the message.
pub(crate) type FdIndex = usize;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Attach {
    pub(crate) version: u32,
    pub(crate) memory: Vec<MemoryRegion>,
    pub(crate) state: FdIndex,
    pub(crate) interrupt: FdIndex,
    pub(crate) vectors: Vec<FdIndex>,
    pub(crate) events: Vec<FdIndex>,
    pub(crate) channels: Vec<Channel>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MemoryRegion {
    pub(crate) guest_addr: u64,
    pub(crate) size: u64,
    pub(crate) offset: u64,
    pub(crate) fd: FdIndex,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Channel {
    pub(crate) origin: Origin,
    #[serde(flatten)]
    pub(crate) end: End,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum End {
    Frames { read: FdIndex, write: FdIndex },
    Ring { ring: FdIndex },
}

/// Sends the message and its descriptors.
pub(crate) fn send(socket: impl AsFd, attach: &Attach, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(attach)?;
    let rights = SendAncillaryMessage::ScmRights(fds);
    let mut space = vec![MaybeUninit::uninit(); rights.size()];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(rights) {
        return Err(io::Error::other(format!(
            "{} descriptors do not fit a message",
            fds.len()
        )));
    }
    sendmsg(
        socket,
        &[IoSlice::new(&bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Waits for the message and its descriptors. They are close-on-exec.
///
/// # Errors
///
/// `UnexpectedEof` when the VMM hung up instead, `InvalidData` for bytes that are no attach
/// message or more descriptors than one holds, and those of `recvmsg(2)`.
pub(crate) fn receive(socket: impl AsFd) -> io::Result<(Attach, Vec<OwnedFd>)> {
    let mut bytes = vec![0; MAX_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut iov = [IoSliceMut::new(&mut bytes)];
    let message = recvmsg(socket, &mut iov, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let fds = control
        .drain()
        .filter_map(|m| match m {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    if message.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if message
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
    {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "attach message too long",
        ));
    }
    Ok((serde_json::from_slice(&bytes[..message.bytes])?, fds))
}

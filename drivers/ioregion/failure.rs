// SPDX-License-Identifier: GPL-2.0-only

//! What the VMM is told when a device does not complete an access.

use crate::access::Access;
use ioregion_dispatch::regions::Ranged;
use ioregion_wire::{
    frame::Operation,
    uapi::{
        KvmIoregionfdFailure,
        IOREGIONFD_FAILURE_SENT,
        KVM_EXIT_IOREGIONFD_FAILURE, //
    },
};
use kernel::prelude::*;
use kvm_ext::Io;
use zerocopy::IntoBytes;

/// Turns the exit that is prepared for the access into a `KVM_EXIT_IOREGIONFD_FAILURE`.
pub(crate) fn describe(access: &Access, io: &mut Io<'_>, error: Error) {
    let region = access.region();
    let range = region.range();
    let mut failure = KvmIoregionfdFailure {
        guest_paddr: range.start(),
        memory_size: range.len(),
        user_data: region.user_data(),
        is_write: io.is_write().into(),
        done: access.done() as u32,
        error: -error.to_errno(),
        flags: region.flags(),
        ..Default::default()
    };
    if access.is_sent() {
        failure.flags |= IOREGIONFD_FAILURE_SENT;
    }
    if let Some(piece) = access.next_piece(io) {
        failure.offset = piece.command.offset;
        if !region.is_doorbell() {
            failure.size = piece.bytes as u32;
        }
        if let Operation::Write(data) = piece.command.operation {
            failure.data = data;
        }
    }
    // The access itself stays as KVM described it.
    let tail = &failure.as_bytes()[failure.access.len()..];
    io.describe_exit(KVM_EXIT_IOREGIONFD_FAILURE, tail);
}

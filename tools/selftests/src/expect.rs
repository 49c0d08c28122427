// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What a `KVM_EXIT_IOREGIONFD_FAILURE` must say.

use anyhow::{bail, Result};
use ioregion_wire::uapi::{KvmIoregion, KvmIoregionfdFailure, IOREGIONFD_FAILURE_SENT};
use rawguest::{Access, Exit};

use crate::check::check_eq;

/// The failure of a piece of an access.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// The whole access.
    pub(crate) access: Access,
    /// Offset of the failed piece in the region.
    pub(crate) offset: u64,
    /// Its bytes.
    pub(crate) size: u32,
    /// What it would have written.
    pub(crate) data: u64,
    /// Bytes of the access that are complete.
    pub(crate) done: u32,
    /// errno.
    pub(crate) error: i32,
    /// Whether the device may have seen it.
    pub(crate) sent: bool,
}

impl Expected {
    /// Fails the test unless `exit` is this failure of this region, in every field.
    pub(crate) fn check(&self, region: &KvmIoregion, exit: &Exit) -> Result<()> {
        let Exit::Failure(failure) = exit else {
            bail!("got {exit:x?}, want the failure {self:x?}");
        };
        check_eq!(failure.access, self.access, "access of the failure");
        let is_write = matches!(
            self.access,
            Access::MmioWrite { .. } | Access::PortOut { .. }
        );
        let want = KvmIoregionfdFailure {
            access: failure.details.access,
            guest_paddr: region.guest_paddr,
            memory_size: region.memory_size,
            user_data: region.user_data,
            offset: self.offset,
            data: self.data,
            size: self.size,
            is_write: is_write.into(),
            done: self.done,
            error: self.error,
            flags: region.flags
                | if self.sent {
                    IOREGIONFD_FAILURE_SENT
                } else {
                    0
                },
            reserved: 0,
        };
        check_eq!(failure.details, want, "failure");
        Ok(())
    }
}

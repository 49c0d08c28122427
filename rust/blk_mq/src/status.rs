// SPDX-License-Identifier: GPL-2.0-only

//! How a request ended.

use kernel::bindings;

/// A `blk_status_t`. `helpers.c` asserts the numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Status(u8);

impl Status {
    /// All is done (`BLK_STS_OK`).
    pub const OK: Self = Self(0);
    /// The device does not do this (`BLK_STS_NOTSUPP`).
    pub const NOTSUPP: Self = Self(1);
    /// It failed (`BLK_STS_IOERR`).
    pub const IOERR: Self = Self(10);
    /// No memory now; the block layer tries again (`BLK_STS_RESOURCE`).
    pub const RESOURCE: Self = Self(9);
    /// No room in the device before one of its requests is done, and that starts the queue again
    /// (`BLK_STS_DEV_RESOURCE`).
    pub const DEV_RESOURCE: Self = Self(13);

    pub(crate) fn into_raw(self) -> bindings::blk_status_t {
        self.0
    }
}

// SPDX-License-Identifier: GPL-2.0-only

//! Declarations of `helpers.h`.

use kernel::ffi::c_void;

extern "C" {
    pub(crate) fn shunt_pages_alloc(bytes: usize) -> *mut c_void;
    pub(crate) fn shunt_pages_free(start: *mut c_void, bytes: usize);
    pub(crate) fn shunt_pages_address(start: *mut c_void) -> u64;
}

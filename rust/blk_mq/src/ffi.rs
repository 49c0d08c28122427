// SPDX-License-Identifier: GPL-2.0-only

//! Declarations of `helpers.h`. `helpers.c` asserts the same sizes and offsets as this file; the
//! kernel's own structures are opaque here.

use crate::request::Segment;
use core::mem::{
    offset_of,
    size_of, //
};
use kernel::ffi::{
    c_int,
    c_void, //
};

/// `struct shunt_mapping`, without the segments that follow it.
#[repr(C)]
pub(crate) struct Mapping {
    iova: [u64; 2],
    pub(crate) count: u32,
    bytes: u32,
}

const _: () = assert!(size_of::<Mapping>() == 24 && offset_of!(Mapping, count) == 16);
const _: () = assert!(size_of::<Segment>() == 16);

extern "C" {
    pub(crate) fn shunt_request_map(
        rq: *mut c_void,
        dev: *mut c_void,
        mapping: *mut Mapping,
        max: u32,
    ) -> c_int;
    pub(crate) fn shunt_request_unmap(rq: *mut c_void, dev: *mut c_void, mapping: *mut Mapping);
    pub(crate) fn shunt_disk_add(disk: *mut c_void, parent: *mut c_void) -> c_int;
    pub(crate) fn shunt_disk_index() -> c_int;
    pub(crate) fn shunt_disk_index_free(index: c_int);
    pub(crate) fn shunt_disk_operations() -> *const c_void;
}

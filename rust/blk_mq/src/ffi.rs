// SPDX-License-Identifier: GPL-2.0-only

//! Declarations of `helpers.h`. `helpers.c` asserts the same sizes and offsets as this file; the
//! kernel's own structures are opaque here.

use core::mem::{
    offset_of,
    size_of, //
};
use kernel::ffi::{
    c_int,
    c_void, //
};
use virtio_ring::segment::Segment;

/// `struct shunt_mapping`, without the segments that follow it.
#[repr(C)]
pub(crate) struct Mapping {
    iova: [u64; 2],
    /// Segments that there is room for, beside the first and the last one.
    pub(crate) room: u32,
    /// Segments that are mapped.
    pub(crate) mapped: u32,
    /// Segments that there are, beside the first and the last one.
    pub(crate) count: u32,
    bytes: u32,
}

impl Mapping {
    pub(crate) fn with_room(room: u32) -> Self {
        Self {
            iova: [0; 2],
            room,
            mapped: 0,
            count: 0,
            bytes: 0,
        }
    }
}

const _: () = assert!(size_of::<Mapping>() == 32 && offset_of!(Mapping, room) == 16);
const _: () = assert!(offset_of!(Mapping, mapped) == 20 && offset_of!(Mapping, count) == 24);
const _: () = assert!(size_of::<Segment>() == 16);

extern "C" {
    pub(crate) fn shunt_request_map(
        rq: *mut c_void,
        dev: *mut c_void,
        mapping: *mut Mapping,
    ) -> c_int;
    pub(crate) fn shunt_request_unmap(rq: *mut c_void, dev: *mut c_void, mapping: *mut Mapping);
    pub(crate) fn shunt_disk_add(disk: *mut c_void, parent: *mut c_void) -> c_int;
    pub(crate) fn shunt_disk_index() -> c_int;
    pub(crate) fn shunt_disk_index_free(index: c_int);
    pub(crate) fn shunt_disk_operations() -> *const c_void;
}

// SPDX-License-Identifier: GPL-2.0-only

//! Declarations of `helpers.h` and `debugfs.h`.

use kernel::{
    bindings::seq_file,
    ffi::{
        c_char,
        c_int,
        c_uint,
        c_void, //
    }, //
};

/// `struct shunt_debugfs_ops`.
#[repr(C)]
pub(crate) struct ShuntDebugfsOps {
    pub(crate) show: unsafe extern "C" fn(file: *mut seq_file, unused: *mut c_void) -> c_int,
    pub(crate) reset: unsafe extern "C" fn(data: *mut c_void),
}

extern "C" {
    pub(crate) fn shunt_pages_alloc(bytes: usize) -> *mut c_void;
    pub(crate) fn shunt_pages_free(start: *mut c_void, bytes: usize);
    pub(crate) fn shunt_pages_address(start: *mut c_void) -> u64;
    pub(crate) fn shunt_irq_is_level(irq: c_uint) -> bool;
    pub(crate) fn shunt_debugfs_create(
        name: *const c_char,
        ops: *const ShuntDebugfsOps,
        data: *mut c_void,
    ) -> *mut c_void;
    pub(crate) fn shunt_debugfs_remove(directory: *mut c_void);
}

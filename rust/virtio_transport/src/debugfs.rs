// SPDX-License-Identifier: GPL-2.0-only

//! A directory in debugfs for each device.
//!
//! The kernel's own abstraction does not let an open file hold the module that it is of.

use crate::ffi;
use core::ptr::from_ref;
use kernel::{
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    seq_file::SeqFile,
    str::CString,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

/// A device that can be looked at.
pub trait Observed: Send + Sync + 'static {
    /// Describes its queues, for the file `queues`.
    fn show(&self, file: &SeqFile);

    /// Something was written to the file `reset`.
    fn reset(this: &Arc<Self>);
}

/// The directory, until this is dropped.
///
/// # Invariants
///
/// `directory` is null or what `shunt_debugfs_create` returned for `_device`.
pub struct Debugfs<T: Observed> {
    directory: *mut c_void,
    _device: Arc<T>,
}

// SAFETY: Any thread may remove the directory.
unsafe impl<T: Observed> Send for Debugfs<T> {}

impl<T: Observed> Debugfs<T> {
    const OPERATIONS: ffi::ShuntDebugfsOps = ffi::ShuntDebugfsOps {
        show: show::<T>,
        reset: reset::<T>,
    };

    /// Makes the directory `prefix`-`name`, with files `queues` and `reset`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. That there is no debugfs is none.
    pub fn new(prefix: &str, name: &CStr, device: Arc<T>) -> Result<Self> {
        let name = CString::try_from_fmt(fmt!("{prefix}-{name}"))?;
        let data = Arc::as_ptr(&device).cast_mut().cast();
        // SAFETY: The operations are static and fit the data, which is there until `drop`.
        let directory = unsafe {
            ffi::shunt_debugfs_create(name.as_char_ptr(), from_ref(&Self::OPERATIONS), data)
        };
        Ok(Self {
            directory,
            _device: device,
        })
    }
}

impl<T: Observed> Drop for Debugfs<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { ffi::shunt_debugfs_remove(self.directory) };
    }
}

/// # Safety
///
/// Only the file of a `Debugfs<T>` calls it.
unsafe extern "C" fn show<T: Observed>(
    file: *mut kernel::bindings::seq_file,
    _unused: *mut c_void,
) -> c_int {
    // SAFETY: The file is valid, and its private data are the device, which is there because the
    // directory is.
    let (file, device) = unsafe { (SeqFile::from_raw(file), &*(*file).private.cast::<T>()) };
    device.show(file);
    0
}

/// # Safety
///
/// As [`show`].
unsafe extern "C" fn reset<T: Observed>(device: *mut c_void) {
    // SAFETY: It is an `Arc<T>` that the directory has a reference to.
    let device = unsafe { ArcBorrow::from_raw(device.cast::<T>()) };
    T::reset(&Arc::from(device));
}

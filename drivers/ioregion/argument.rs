// SPDX-License-Identifier: GPL-2.0-only

//! Arguments of ioctls.

use kernel::{
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};
use zerocopy::{
    FromBytes,
    IntoBytes, //
};

/// Reads a structure of the caller.
///
/// # Errors
///
/// `EFAULT`: it is not there.
pub(crate) fn read<T: FromBytes + IntoBytes>(from: UserPtr) -> Result<T> {
    let mut value = T::new_zeroed();
    let mut reader = UserSlice::new(from, size_of::<T>()).reader();
    reader.read_slice(value.as_mut_bytes())?;
    Ok(value)
}

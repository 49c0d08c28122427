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
    Immutable,
    IntoBytes, //
};

/// Reads a value of the caller.
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

/// Writes a value to the caller.
///
/// # Errors
///
/// `EFAULT`: there is no place for it.
pub(crate) fn write<T: IntoBytes + Immutable>(to: UserPtr, value: &T) -> Result {
    let mut writer = UserSlice::new(to, size_of::<T>()).writer();
    writer.write_slice(value.as_bytes())
}

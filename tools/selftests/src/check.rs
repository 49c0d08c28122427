// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Checks whose failure shows both sides.

use std::io;

use anyhow::{bail, Result};

/// Fails the test unless both are equal. What is checked comes first, as a format.
macro_rules! check_eq {
    ($got:expr, $want:expr, $($what:tt)+) => {{
        let (got, want) = (&$got, &$want);
        if got != want {
            anyhow::bail!("{}: got {got:x?}, want {want:x?}", format_args!($($what)+));
        }
    }};
}
pub(crate) use check_eq;

/// Fails the test unless the call failed with this errno.
pub(crate) fn expect_errno<T>(result: io::Result<T>, errno: i32, what: &str) -> Result<()> {
    let want = io::Error::from_raw_os_error(errno);
    match result {
        Ok(_) => bail!("{what}: succeeded, want {want}"),
        Err(error) if error.raw_os_error() == Some(errno) => Ok(()),
        Err(error) => bail!("{what}: got {error}, want {want}"),
    }
}

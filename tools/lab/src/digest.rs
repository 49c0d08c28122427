// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! SHA-256 digests as `sha256sum` prints them.

use std::fs::File;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digest of a file's contents.
///
/// # Errors
///
/// It cannot be read.
pub(crate) fn of_file(path: &Path) -> Result<String> {
    let context = || path.display().to_string();
    let mut file = File::open(path).with_context(context)?;
    let mut hasher = Sha256::new();
    io::copy(&mut file, &mut hasher).with_context(context)?;
    Ok(hex(&hasher.finalize()))
}

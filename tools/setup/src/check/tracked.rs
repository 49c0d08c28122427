// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The files of the checkout, as the text checks see them.

use crate::checkout::Checkout;
use crate::command::output;
use anyhow::Result;
use std::fs;
use std::process::Command;

/// A file that is or would be in the repository.
pub(super) struct Tracked {
    /// Its path below the root.
    pub(super) path: String,
    /// Its content.
    pub(super) text: String,
}

impl Tracked {
    /// The extension, or the whole name if there is none.
    pub(super) fn kind(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        name.rsplit('.').next().unwrap_or(name)
    }

    /// Whether it is code of ours in a programming language.
    pub(super) fn is_code(&self) -> bool {
        ["rs", "c", "h", "S", "sh"].contains(&self.kind())
    }
}

/// Reads every text file that is in the repository or new and not ignored.
///
/// # Errors
///
/// git cannot list them.
pub(super) fn read(checkout: &Checkout) -> Result<Vec<Tracked>> {
    let list = output(Command::new("git").arg("-C").arg(checkout.root()).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let read = |path: &str| {
        let text = fs::read_to_string(checkout.path(path)).ok()?;
        Some(Tracked {
            path: path.to_string(),
            text,
        })
    };
    // A file that is listed but gone is about to be removed; one that is not text has
    // nothing for us to read.
    Ok(list.split('\0').filter_map(read).collect())
}

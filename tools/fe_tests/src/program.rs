// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Programs that others wrote.

use std::process::Command;

use anyhow::{ensure, Context, Result};

/// Runs a program to its end; what it wrote.
///
/// # Errors
///
/// It cannot be started, or says that it failed.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?}: {}: {} {}",
        output.status,
        text.trim(),
        errors.trim()
    );
    Ok(text.into_owned())
}

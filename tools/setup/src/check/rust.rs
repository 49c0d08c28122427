// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Formatting and lints of the Rust code.

use super::tracked::read;
use super::{Findings, Subject};
use crate::checkout::Checkout;
use crate::command::output;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

pub(super) fn cargo_format(subject: &Subject) -> Result<Findings> {
    complaints(cargo(subject).args(["fmt", "--all", "--", "--check", "-l"]))
}

pub(super) fn kernel_format(subject: &Subject) -> Result<Findings> {
    match rustfmt(subject.checkout)? {
        Some(mut rustfmt) => complaints(rustfmt.args(["--check", "-l"])),
        None => Ok(vec![]),
    }
}

pub(super) fn cargo_clippy(subject: &Subject) -> Result<Findings> {
    let mut clippy = cargo(subject);
    clippy.args([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-Dwarnings",
    ]);
    complaints(&mut clippy)
}

/// Formats the Rust code that Cargo does not know.
///
/// # Errors
///
/// rustfmt fails.
pub(crate) fn format_kernel_code(checkout: &Checkout) -> Result<()> {
    match rustfmt(checkout)? {
        Some(mut rustfmt) => output(&mut rustfmt).map(drop),
        None => Ok(()),
    }
}

/// What a tool says when it is not content.
fn complaints(tool: &mut Command) -> Result<Findings> {
    let name = tool.get_program().to_string_lossy().into_owned();
    let output = tool
        .output()
        .with_context(|| format!("cannot start {name}"))?;
    if output.status.success() {
        return Ok(vec![]);
    }
    let words = [output.stdout, output.stderr].concat();
    Ok(vec![String::from_utf8_lossy(&words).trim_end().to_string()])
}

fn cargo(subject: &Subject) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(subject.checkout.workspace());
    cargo
}

/// A rustfmt over the drivers and the kernel abstractions, if there are any yet.
fn rustfmt(checkout: &Checkout) -> Result<Option<Command>> {
    let files = read(checkout)?;
    let with_cargo = |path: &str| {
        files.iter().any(|file| {
            file.path
                .strip_suffix("Cargo.toml")
                .is_some_and(|folder| path.starts_with(folder))
        })
    };
    let kernel: Vec<PathBuf> = files
        .iter()
        .filter(|file| file.kind() == "rs")
        .filter(|file| file.path.starts_with("drivers/") || file.path.starts_with("rust/"))
        .filter(|file| !with_cargo(&file.path))
        .map(|file| checkout.path(&file.path))
        .collect();
    if kernel.is_empty() {
        return Ok(None);
    }
    let mut rustfmt = Command::new("rustfmt");
    rustfmt.args(["--edition", "2021"]).args(kernel);
    Ok(Some(rustfmt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_fails_is_a_finding_with_its_words() {
        let mut bad = Command::new("sh");
        bad.args(["-c", "echo a.rs; echo why >&2; exit 1"]);
        assert_eq!(complaints(&mut bad).unwrap(), ["a.rs\nwhy"]);
        assert!(complaints(&mut Command::new("true")).unwrap().is_empty());
    }
}

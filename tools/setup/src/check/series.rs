// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The patch series by the kernel's own rules.

use super::{Findings, Subject};
use crate::kernel::series;
use anyhow::{Context, Result};
use std::process::Command;

/// Types of checkpatch complaints that do not apply, each with the reason.
const IGNORED: [(&str, &str); 2] = [
    (
        "MISSING_SIGN_OFF",
        "whoever submits a patch signs it off, not who keeps it here",
    ),
    (
        "FILE_PATH_CHANGES",
        "an entry in MAINTAINERS is made when the code is submitted",
    ),
];

pub(super) fn checkpatch(subject: &Subject) -> Result<Findings> {
    let patches = series(subject.checkout)?;
    if patches.is_empty() {
        return Ok(vec!["there are no patches in tools/kernel/patches".into()]);
    }
    let ignored: Vec<&str> = IGNORED.iter().map(|(kind, _)| *kind).collect();
    let mut findings = Vec::new();
    for patch in patches {
        let output = Command::new("perl")
            .current_dir(subject.checkout.path("out/kernel/source"))
            .args([
                "scripts/checkpatch.pl",
                "--strict",
                "--terse",
                "--show-types",
                "--color=never",
            ])
            .arg(format!("--ignore={}", ignored.join(",")))
            .arg(
                subject
                    .checkout
                    .path("tools/kernel/patches")
                    .join(&patch.name),
            )
            .output()
            .context("cannot start checkpatch.pl")?;
        if !output.status.success() {
            findings.push(
                String::from_utf8_lossy(&output.stdout)
                    .trim_end()
                    .to_string(),
            );
        }
    }
    Ok(findings)
}

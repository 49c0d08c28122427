// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Judges a guest's disk image from outside, after the guest is gone: the file
//! system's structure, the files it was made with, the files the guest wrote.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{ensure, Context, Result};
use sha2::{Digest, Sha256};

use crate::digest;
use crate::scenario::{GuestReport, ImageReport};

/// Checks `image`; `dump` is a place for its files, `manifest` the lab's own list of the root
/// image's files, not the copy in the image.
///
/// # Errors
///
/// What is wrong with the file system or the first file that is.
pub fn check(
    image: &Path,
    dump: &Path,
    manifest: &Path,
    guest: &GuestReport,
) -> Result<ImageReport> {
    run(Command::new("/sbin/e2fsck").arg("-fn").arg(image))?;
    fs::create_dir(dump).context("dump")?;
    run(Command::new("/sbin/debugfs")
        .arg("-R")
        .arg(format!("rdump /files /written {}", dump.display()))
        .arg(image))?;

    let original = fs::read_to_string(manifest).with_context(|| manifest.display().to_string())?;
    let written = dump.join("written/manifest");
    let written = fs::read_to_string(written).context("the written files' manifest")?;
    let seal = digest::hex(&Sha256::digest(written.as_bytes()));
    ensure!(
        seal == guest.manifest,
        "the manifest of the written files has SHA-256 {seal}, the guest wrote {}",
        guest.manifest
    );
    Ok(ImageReport {
        files_original: verify(&dump.join("files"), &original)?,
        files_written: verify(&dump.join("written"), &written)?,
    })
}

/// Compares each file of a `sha256sum` list; how many there are.
fn verify(directory: &Path, list: &str) -> Result<u64> {
    let mut verified = 0;
    for line in list.lines() {
        let (expected, name) = line
            .split_once("  ")
            .with_context(|| format!("not a line of sha256sum: {line:?}"))?;
        let found = digest::of_file(&directory.join(name)).with_context(|| name.to_owned())?;
        ensure!(
            found == expected,
            "{name} has SHA-256 {found}, should have {expected}"
        );
        verified += 1;
    }
    Ok(verified)
}

/// Runs a checker that must succeed; its output is the reason when it does not.
fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("starting {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  abc\n";

    #[test]
    fn a_changed_file_is_found() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("abc"), "abc").unwrap();
        assert_eq!(verify(directory.path(), ABC).unwrap(), 1);
        fs::write(directory.path().join("abc"), "abd").unwrap();
        assert!(verify(directory.path(), ABC).is_err());
    }

    #[test]
    fn a_lost_file_is_found() {
        let directory = tempfile::tempdir().unwrap();
        assert!(verify(directory.path(), ABC).is_err());
    }
}

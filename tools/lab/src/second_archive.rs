// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! An initramfs with more in it than the ordinary one, for jobs that need it: programs of this
//! machine's are many times as large as all of ours.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::images::{unless_current, Images};
use crate::out::Places;
use crate::tree::Tree;

/// Where another archive may begin: Linux unpacks any number of them, one behind the other.
const ALIGNMENT: u64 = 512;

/// The images with `tree` in the initramfs, too, which gets this name.
///
/// # Errors
///
/// An input is missing or the result cannot be written.
pub(crate) fn append(places: &Places, plain: &Images, tree: &Tree, name: &str) -> Result<Images> {
    let base = fs::metadata(&plain.initramfs).context("initramfs")?;
    let inputs = format!(
        "{} {} {}",
        tree.fingerprint()?,
        base.mtime(),
        base.mtime_nsec()
    );
    let initramfs = places.out("lab")?.join(name);
    unless_current(&initramfs, &inputs, |path| {
        join(&plain.initramfs, tree, path).with_context(|| path.display().to_string())
    })?;
    Ok(Images {
        initramfs,
        ..plain.clone()
    })
}

/// Writes the archive `first`, and one of `tree` behind it.
fn join(first: &Path, tree: &Tree, path: &Path) -> Result<()> {
    let mut output = BufWriter::new(File::create(path)?);
    let len = io::copy(&mut File::open(first)?, &mut output)?;
    let gap = len.next_multiple_of(ALIGNMENT) - len;
    io::copy(&mut io::Read::take(io::repeat(0), gap), &mut output)?;
    tree.write_cpio(&mut output)?;
    Ok(output.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_archive_begins_at_a_block() {
        let directory = tempfile::tempdir().unwrap();
        let (first, joined) = (directory.path().join("a"), directory.path().join("b"));
        let mut tree = Tree::default();
        tree.text("share/x", "x".to_owned(), 0o644);
        for len in [0, 1, 511, 512, 513] {
            fs::write(&first, vec![7; len]).unwrap();
            join(&first, &tree, &joined).unwrap();
            let bytes = fs::read(&joined).unwrap();
            let at = len.next_multiple_of(512);
            assert!(bytes[..len].iter().all(|&byte| byte == 7));
            assert!(bytes[len..at].iter().all(|&byte| byte == 0));
            assert_eq!(&bytes[at..at + 6], b"070701");
        }
    }
}

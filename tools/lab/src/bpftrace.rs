// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! An initramfs with this machine's bpftrace and our scripts for it, for jobs that use them: with
//! the compiler that bpftrace brings along, it is three times as large as the ordinary one.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::images::{unless_current, Images};
use crate::out::Places;
use crate::progress::Step;
use crate::tree::Tree;

const SCRIPTS: &str = "tools/bpftrace";

/// The types of a tracepoint's fields. bpftrace finds them in the kernel's BTF or headers, of which
/// L1 has neither.
const TYPES: &str = "\
/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
typedef unsigned char u8;
typedef signed int s32;
typedef unsigned int u32;
typedef unsigned long long u64;
";

/// Where another archive may begin: Linux unpacks any number of them, one behind the other.
const ALIGNMENT: u64 = 512;

/// The images with bpftrace; `None` if this machine has none.
///
/// # Errors
///
/// An input is missing or the result cannot be written.
pub(crate) fn images(places: &Places, plain: &Images) -> Result<Option<Images>> {
    let Some(program) = installed() else {
        return Ok(None);
    };
    let step = Step::start("bpftrace for L1");
    let tree = tree(&program, &places.source(SCRIPTS))?;
    let base = fs::metadata(&plain.initramfs).context("initramfs")?;
    let inputs = format!(
        "{} {} {}",
        tree.fingerprint()?,
        base.mtime(),
        base.mtime_nsec()
    );
    let initramfs = places.out("lab")?.join("initramfs-bpftrace.cpio");
    unless_current(&initramfs, &inputs, |path| {
        join(&plain.initramfs, &tree, path).with_context(|| path.display().to_string())
    })?;
    step.done();
    Ok(Some(Images {
        initramfs,
        ..plain.clone()
    }))
}

fn installed() -> Option<PathBuf> {
    let places = ["/usr/bin/bpftrace", "/usr/local/bin/bpftrace"];
    places
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists())
}

fn tree(program: &Path, scripts: &Path) -> Result<Tree> {
    let mut tree = Tree::default();
    tree.dynamic_program("bin/bpftrace", program)?;
    let types = TYPES.to_owned();
    tree.text("share/bpftrace/include/linux/types.h", types, 0o644);
    for entry in fs::read_dir(scripts).with_context(|| scripts.display().to_string())? {
        let path = entry?.path();
        if path.extension() == Some("bt".as_ref()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            tree.file(&format!("share/bpftrace/{name}"), &path, 0o755);
        }
    }
    Ok(tree)
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

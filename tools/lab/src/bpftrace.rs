// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! An initramfs with this machine's bpftrace and our scripts for it, for jobs that use them: with
//! the compiler that bpftrace brings along, it is three times as large as the ordinary one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::images::Images;
use crate::out::Places;
use crate::progress::Step;
use crate::second_archive;
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
    let images = second_archive::append(places, plain, &tree, "initramfs-bpftrace.cpio")?;
    step.done();
    Ok(Some(images))
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

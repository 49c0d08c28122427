// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The root file system is on a disk of our driver's.

use std::fs;
use std::path::Path;

use anyhow::{ensure, Context, Result};
use fe_tests::plan::Disk;
use fe_tests::serial;

use crate::driver::tell;

/// Where shared libraries are, and where their copies are written.
const LIBRARIES: &str = "/lib/x86_64-linux-gnu";
const COPIES: &str = "/copies";

/// Bytes of those that are copied, at most, and of each.
const MOST: u64 = 24 << 20;
const EACH: u64 = 4 << 20;

/// It is what is mounted on `/`. What is copied there is as it was, when the kernel has neither in
/// its memory any more.
pub(super) fn run(plan: &Disk) -> Result<()> {
    let node = serial::node(plan.name)?;
    let mounts = fs::read_to_string("/proc/mounts").context("/proc/mounts")?;
    let want = format!("{} / ext4 rw", node.display());
    ensure!(
        mounts.lines().any(|line| line.starts_with(&want)),
        "no {want:?} in {mounts:?}"
    );
    fs::create_dir(COPIES).context(COPIES)?;
    let copied = copy()?;
    rustix::fs::sync();
    tell("/proc/sys/vm/drop_caches", "3")?;
    for name in &copied {
        let [one, other] = [LIBRARIES, COPIES].map(|place| fs::read(Path::new(place).join(name)));
        ensure!(one? == other?, "the copy of {name} is not like it");
    }
    ensure!(!copied.is_empty(), "nothing was copied");
    Ok(())
}

/// Copies libraries; their names.
fn copy() -> Result<Vec<String>> {
    let mut copied = Vec::new();
    let mut left = MOST;
    for entry in fs::read_dir(LIBRARIES).context(LIBRARIES)? {
        let entry = entry?;
        let data = entry.metadata()?;
        if !data.is_file() || data.len() > left.min(EACH) {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        fs::copy(entry.path(), Path::new(COPIES).join(&name)).with_context(|| name.clone())?;
        left -= data.len();
        copied.push(name);
    }
    Ok(copied)
}

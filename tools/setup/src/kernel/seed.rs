// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Starting a kernel's build from that of a sibling, a whole kernel that differs in its
//! patches only.
//!
//! make decides by time, so the times must tell the truth: a file that is the same in
//! both sources keeps the time the sibling was built with, and one that differs counts as
//! changed now, also when a patch that changed it is gone and the pristine file, which is
//! old, is back.

use super::entry::{all_complete, Entry, Stamp};
use crate::cache::{remove, Cache};
use crate::command::output;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

/// A whole kernel with the same base.
pub(crate) struct Sibling {
    /// Its place.
    pub(crate) entry: Entry,
    /// What its stamp says.
    pub(crate) stamp: Stamp,
}

/// The most recently used sibling, if there is one.
pub(crate) fn find(cache: &Cache, base: &str) -> Option<Sibling> {
    all_complete(cache).into_iter().find_map(|entry| {
        let stamp = entry.stamp().filter(|stamp| stamp.base == base)?;
        Some(Sibling { entry, stamp })
    })
}

/// Copies the sibling's build tree into `source`, the patched source whose patches touch
/// `touched`, and sets the times of the files that make looks at.
///
/// # Errors
///
/// The tree cannot be copied or a time not be set.
pub(crate) fn plant(sibling: &Sibling, source: &Path, touched: &BTreeSet<String>) -> Result<()> {
    let partial = source.join("build.partial");
    remove(&partial)?;
    output(
        Command::new("cp")
            .args(["--archive", "--reflink=auto"])
            .arg(sibling.entry.build())
            .arg(&partial),
    )?;
    for file in touched.union(&sibling.stamp.touched) {
        align(&sibling.entry.path("source").join(file), &source.join(file))
            .with_context(|| format!("cannot set the time of {file}"))?;
    }
    fs::rename(&partial, source.join("build")).context("cannot put the build tree into place")
}

/// Gives `ours` the time of `theirs` if they are the same, else the present.
fn align(theirs: &Path, ours: &Path) -> std::io::Result<()> {
    let Ok(content) = fs::read(ours) else {
        // Gone with its patch; what depended on it is rebuilt because it is missing.
        return Ok(());
    };
    let time = match fs::read(theirs) {
        Ok(other) if other == content => fs::metadata(theirs)?.modified()?,
        _ => SystemTime::now(),
    };
    // The file may be a hard link into the pristine source, whose time must stay.
    let copy = ours.with_extension("shunt-copy");
    fs::copy(ours, &copy)?;
    File::options()
        .write(true)
        .open(&copy)?
        .set_modified(time)?;
    fs::rename(&copy, ours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::time::Duration;

    fn put(path: &Path, text: &str, age: u64) -> SystemTime {
        let time = SystemTime::now() - Duration::from_secs(age);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(time)
            .unwrap();
        time
    }

    fn time(path: &PathBuf) -> SystemTime {
        fs::metadata(path).unwrap().modified().unwrap()
    }

    #[test]
    fn times_tell_make_what_differs() {
        let directory = tempfile::tempdir().unwrap();
        let (theirs, ours) = (
            directory.path().join("theirs"),
            directory.path().join("ours"),
        );
        let built = SystemTime::now() - Duration::from_secs(50);

        let kept = put(&theirs.join("same.c"), "same", 100);
        put(&ours.join("same.c"), "same", 0);
        put(&theirs.join("reverted.c"), "patched", 100);
        put(&ours.join("reverted.c"), "pristine", 9_000);
        put(&theirs.join("gone.h"), "new in theirs", 100);
        put(&ours.join("added.h"), "new in ours", 9_000);

        for file in ["same.c", "reverted.c", "gone.h", "added.h"] {
            align(&theirs.join(file), &ours.join(file)).unwrap();
        }
        assert_eq!(time(&ours.join("same.c")), kept);
        assert!(time(&ours.join("reverted.c")) > built);
        assert!(time(&ours.join("added.h")) > built);
        assert!(!ours.join("gone.h").exists());
    }

    #[test]
    fn the_pristine_source_keeps_its_time() {
        let directory = tempfile::tempdir().unwrap();
        let pristine = directory.path().join("pristine.c");
        let old = put(&pristine, "text", 9_000);
        let ours = directory.path().join("ours.c");
        fs::hard_link(&pristine, &ours).unwrap();
        align(&directory.path().join("absent.c"), &ours).unwrap();
        assert_eq!(time(&pristine), old);
        assert!(time(&ours) > old);
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! One kernel in the cache, and the stamp that says it is whole.

use super::recipe::Recipe;
use crate::cache::{point_link, remove, Cache};
use crate::checkout::Checkout;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How many kernels are kept; the longest unused ones go first.
const KEPT: usize = 6;

/// The file that is written last.
const STAMP: &str = "complete";

/// What the stamp of a whole kernel remembers.
#[derive(Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// The recipe without its patches.
    pub(crate) base: String,
    /// The source files that differ from the pristine source.
    pub(crate) touched: BTreeSet<String>,
    /// How many lines the build printed when nothing was built yet, the expectation for
    /// the next such build.
    pub(crate) lines: Option<u64>,
}

/// A kernel's place in the cache.
pub(crate) struct Entry {
    directory: PathBuf,
}

impl Entry {
    /// The place of the kernel with this recipe.
    pub(crate) fn of(cache: &Cache, recipe: &Recipe) -> Self {
        Self {
            directory: cache.path("kernel").join(recipe.key()),
        }
    }

    /// The directory itself.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A path below the directory.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.directory.join(relative)
    }

    /// The build tree. It lies directly below the source because then, and only then,
    /// the kernel's makefiles use relative paths, and another kernel can start from a
    /// copy of it without compiling everything anew.
    pub(crate) fn build(&self) -> PathBuf {
        self.path("source/build")
    }

    /// Where the commands of the build and their output are recorded.
    pub(crate) fn log(&self) -> PathBuf {
        self.path("build.log")
    }

    /// Whether the kernel is there and whole.
    pub(crate) fn is_complete(&self) -> bool {
        self.path(STAMP).is_file()
    }

    /// The stamp, if the kernel is whole.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        let text = fs::read_to_string(self.path(STAMP)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Declares the kernel whole.
    ///
    /// # Errors
    ///
    /// The stamp cannot be written.
    pub(crate) fn complete(&self, stamp: &Stamp) -> Result<()> {
        let partial = self.path("complete.partial");
        fs::write(&partial, serde_json::to_string_pretty(stamp)?)
            .and_then(|()| fs::rename(&partial, self.path(STAMP)))
            .with_context(|| format!("cannot stamp {}", self.directory.display()))
    }

    /// Links the kernel into the checkout and marks it as used now.
    ///
    /// # Errors
    ///
    /// The link cannot be made.
    pub(crate) fn link(&self, checkout: &Checkout) -> Result<()> {
        File::open(self.path(STAMP))?.set_modified(SystemTime::now())?;
        point_link(&checkout.path("out/kernel"), &self.directory)
    }
}

/// The key of the kernel that `out/kernel` is linked to.
///
/// # Errors
///
/// There is no such link, or it leads nowhere.
pub(crate) fn linked_key(checkout: &Checkout) -> Result<String> {
    let link = checkout.path("out/kernel");
    let target = fs::canonicalize(&link)
        .with_context(|| format!("{} leads to no kernel; run `make kernel`", link.display()))?;
    let key = target
        .file_name()
        .context("the kernel's directory has no name")?;
    Ok(key.to_string_lossy().into_owned())
}

/// All kernels, whole or not.
fn all(cache: &Cache) -> impl Iterator<Item = Entry> {
    let directories = fs::read_dir(cache.path("kernel"))
        .into_iter()
        .flatten()
        .flatten();
    directories.map(|directory| Entry {
        directory: directory.path(),
    })
}

/// All whole kernels, the most recently used first.
pub(crate) fn all_complete(cache: &Cache) -> Vec<Entry> {
    let mut dated: Vec<(SystemTime, Entry)> = all(cache)
        .filter_map(|entry| {
            let used = fs::metadata(entry.path(STAMP)).ok()?.modified().ok()?;
            Some((used, entry))
        })
        .collect();
    dated.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
    dated.into_iter().map(|(_, entry)| entry).collect()
}

/// Removes the longest unused kernels beyond the number we keep, and what interrupted
/// builds of other kernels have left.
///
/// # Errors
///
/// One cannot be removed.
pub(crate) fn prune(cache: &Cache) -> Result<()> {
    for old in all_complete(cache).iter().skip(KEPT) {
        // Without its stamp it is not whole, should we be interrupted here.
        remove(&old.path(STAMP))?;
    }
    for entry in all(cache).filter(|entry| !entry.is_complete()) {
        remove(&entry.directory)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn entry(cache: &Cache, name: &str, age: u64) -> Entry {
        let entry = Entry {
            directory: cache.path("kernel").join(name),
        };
        fs::create_dir_all(&entry.directory).unwrap();
        let stamp = Stamp {
            base: "b".into(),
            touched: BTreeSet::new(),
            lines: Some(3),
        };
        entry.complete(&stamp).unwrap();
        let then = SystemTime::now() - Duration::from_secs(age);
        File::open(entry.path(STAMP))
            .unwrap()
            .set_modified(then)
            .unwrap();
        entry
    }

    #[test]
    fn a_directory_without_its_stamp_is_not_a_kernel() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path());
        let half = Entry {
            directory: cache.path("kernel/half"),
        };
        fs::create_dir_all(half.path("source/build")).unwrap();
        fs::write(half.path("complete.partial"), "{}").unwrap();
        assert!(!half.is_complete());
        assert!(all_complete(&cache).is_empty());
    }

    #[test]
    fn the_longest_unused_kernels_and_unfinished_ones_go() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path());
        let entries: Vec<Entry> = (0..KEPT + 2)
            .map(|index| entry(&cache, &format!("k{index}"), 10 * index as u64))
            .collect();
        fs::create_dir_all(cache.path("kernel/half/source")).unwrap();
        prune(&cache).unwrap();
        assert!(!cache.path("kernel/half").exists());
        let kept: Vec<bool> = entries.iter().map(Entry::is_complete).collect();
        assert_eq!(kept, [true, true, true, true, true, true, false, false]);
    }

    #[test]
    fn the_linked_kernel_is_known_by_its_key() {
        let directory = tempfile::tempdir().unwrap();
        let checkout = Checkout::at(&directory.path().join("checkout"));
        let cache = Cache::at(directory.path());
        assert!(linked_key(&checkout).is_err());
        entry(&cache, "0123abcd", 5).link(&checkout).unwrap();
        assert_eq!(linked_key(&checkout).unwrap(), "0123abcd");
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The cache outside the checkout.
//!
//! `$SHUNT_CACHE`, else `$XDG_CACHE_HOME/shunt`, else `~/.cache/shunt`. Nothing in it is
//! taken for whole unless it came there by a rename or carries a stamp written last.
//! Whoever adds something holds the lock; readers of finished things need no lock.

use anyhow::{Context, Result};
use rustix::fs::{flock, FlockOperation};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// What this tool keeps in the cache, each a directory or file below its root.
const CONTENTS: [&str; 8] = [
    "apt", "bindgen", "bochs", "kernel", "qemu", "rust-src", "source", "lock",
];

/// A directory for results that outlive a checkout.
pub(crate) struct Cache {
    root: PathBuf,
}

/// Held while something is added to the cache; released when dropped.
pub(crate) struct CacheLock {
    _file: File,
}

impl Cache {
    /// Finds the cache directory from the environment. It need not exist yet.
    ///
    /// # Errors
    ///
    /// None of `SHUNT_CACHE`, `XDG_CACHE_HOME` and `HOME` is set.
    pub(crate) fn locate() -> Result<Self> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let root = variable("SHUNT_CACHE")
            .map(PathBuf::from)
            .or_else(|| variable("XDG_CACHE_HOME").map(|base| Path::new(&base).join("shunt")))
            .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".cache/shunt")))
            .context("no place for the cache: set SHUNT_CACHE, XDG_CACHE_HOME or HOME")?;
        let root = std::path::absolute(&root)
            .with_context(|| format!("{} cannot be made absolute", root.display()))?;
        Ok(Self { root })
    }

    /// A cache at a place of the caller's choice.
    #[cfg(test)]
    pub(crate) fn at(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
        }
    }

    /// A path below the root of the cache.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Waits until no other set-up adds to this cache, and keeps others out.
    ///
    /// # Errors
    ///
    /// The cache directory or its lock file cannot be made.
    pub(crate) fn lock(&self) -> Result<CacheLock> {
        fs::create_dir_all(&self.root)
            .with_context(|| format!("cannot make the cache {}", self.root.display()))?;
        let path = self.path("lock");
        let file =
            File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            eprintln!(
                "setup: waiting for another set-up that holds {}",
                path.display()
            );
            flock(&file, FlockOperation::LockExclusive)
                .with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(CacheLock { _file: file })
    }

    /// Removes everything this tool put into the cache, and nothing else.
    ///
    /// # Errors
    ///
    /// Something cannot be removed.
    pub(crate) fn purge(&self) -> Result<()> {
        if !self.root.exists() {
            return Ok(());
        }
        let _lock = self.lock()?;
        for name in CONTENTS {
            remove(&self.path(name))?;
        }
        // Fails, as it should, when somebody else keeps something there.
        if fs::remove_dir(&self.root).is_err() {
            eprintln!(
                "setup: {} holds other things and stays",
                self.root.display()
            );
        }
        Ok(())
    }
}

/// Removes a file or directory that may be absent.
///
/// # Errors
///
/// It is there and cannot be removed.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let result = match fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    result.with_context(|| format!("cannot remove {}", path.display()))
}

/// Makes an empty directory, whatever was there before.
///
/// # Errors
///
/// The old one cannot be removed or the new one not made.
pub(crate) fn fresh_dir(path: &Path) -> Result<()> {
    remove(path)?;
    fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))
}

/// Makes `link` a symbolic link to `target`, replacing an older link in one step.
///
/// # Errors
///
/// `link` is something else than a link, or its directory cannot be written.
pub(crate) fn point_link(link: &Path, target: &Path) -> Result<()> {
    let parent = link.parent().context("a link needs a directory")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let fresh = link.with_extension("new");
    remove(&fresh)?;
    std::os::unix::fs::symlink(target, &fresh)
        .and_then(|()| fs::rename(&fresh, link))
        .with_context(|| format!("cannot link {} to {}", link.display(), target.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purge_leaves_what_is_not_ours() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path());
        fs::create_dir_all(cache.path("kernel/abc/build")).unwrap();
        fs::write(cache.path("precious"), "x").unwrap();
        cache.purge().unwrap();
        assert!(!cache.path("kernel").exists());
        assert!(cache.path("precious").exists());
    }

    #[test]
    fn purge_removes_an_empty_cache_altogether() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(&directory.path().join("cache"));
        fs::create_dir_all(cache.path("bindgen")).unwrap();
        cache.purge().unwrap();
        assert!(!cache.path("").exists());
    }

    #[test]
    fn a_link_is_replaced_in_place() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("out/kernel");
        for target in ["one", "two"] {
            point_link(&link, Path::new(target)).unwrap();
            assert_eq!(fs::read_link(&link).unwrap(), Path::new(target));
        }
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Linux 7.3 source: Debian's package of it, or what `KERNEL_SRC` names.

use crate::apt::find_for_unpacking;
use crate::cache::{fresh_dir, remove, Cache};
use crate::command::{output, stepped};
use crate::progress::Step;
use anyhow::{bail, ensure, Context, Result};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;
use walkdir::WalkDir;

/// The package of Debian that holds the source of the series we patch.
const PACKAGE: &str = "linux-source-7.3";

/// How many files are in it, for the progress of unpacking.
const FILES: u64 = 100_000;

/// A kernel source without our patches.
pub(crate) struct Source {
    /// What identifies its content.
    pub(crate) id: String,
    /// Its root.
    pub(crate) tree: PathBuf,
    /// Whether it is ours alone, in the cache, so that hard links to it are safe.
    pub(crate) owned: bool,
}

/// Finds the source: what `KERNEL_SRC` names, else the one in the cache, else the newest
/// on offer.
///
/// # Errors
///
/// What `KERNEL_SRC` names is not a clean Linux 7.3, or it is not set and no suite has
/// the package.
pub(crate) fn obtain(cache: &Cache, refresh: bool) -> Result<Source> {
    let source = match std::env::var_os("KERNEL_SRC").filter(|value| !value.is_empty()) {
        Some(given) => from_user(cache, Path::new(&given))?,
        None => match cached(cache).filter(|_| !refresh) {
            Some(source) => source,
            None => from_debian(cache)?,
        },
    };
    check_version(&source.tree)?;
    Ok(source)
}

fn from_user(cache: &Cache, given: &Path) -> Result<Source> {
    let given = fs::canonicalize(given)
        .with_context(|| format!("KERNEL_SRC={} is not there", given.display()))?;
    if given.is_file() {
        return from_tarball(cache, &given);
    }
    ensure!(
        !given.join(".config").exists() && !given.join("include/config").exists(),
        "KERNEL_SRC={0} was built in; run `make -C {0} mrproper` first",
        given.display()
    );
    Ok(Source {
        id: format!("tree-{}", fingerprint(&given)?),
        tree: given,
        owned: false,
    })
}

fn from_tarball(cache: &Cache, tarball: &Path) -> Result<Source> {
    let mut hash = Sha256::new();
    std::io::copy(&mut File::open(tarball)?, &mut hash)
        .with_context(|| format!("cannot read {}", tarball.display()))?;
    let id = format!("tarball-{}", short(&hash.finalize()));
    let home = cache.path("source").join(&id);
    if !home.is_dir() {
        let _lock = cache.lock()?;
        unpack(cache, tarball, &home)?;
    }
    Ok(owned(id, home))
}

/// The source that was downloaded earlier.
fn cached(cache: &Cache) -> Option<Source> {
    let directories = fs::read_dir(cache.path("source")).ok()?;
    directories.flatten().find_map(|directory| {
        let id = directory.file_name().into_string().ok()?;
        id.starts_with(PACKAGE).then(|| owned(id, directory.path()))
    })
}

/// Downloads and unpacks the newest package. An older one in the cache is removed;
/// kernels made of it keep their files.
fn from_debian(cache: &Cache) -> Result<Source> {
    let found = find_for_unpacking(cache, PACKAGE, |_| true).context(
        "no kernel source can be looked up; set KERNEL_SRC to a Linux 7.3 tree or tarball",
    )?;
    let Some((view, offer)) = found else {
        bail!("no suite of this machine's Debian mirror has {PACKAGE}; set KERNEL_SRC to a Linux 7.3 tree or tarball");
    };
    let id = format!("{PACKAGE}_{}", offer.version);
    let home = cache.path("source").join(&id);
    let _lock = cache.lock()?;
    if !home.is_dir() {
        let download = cache.path("source/download");
        let package = view.download(PACKAGE, &offer, &download)?;
        let files = download.join("package");
        output(
            Command::new("dpkg-deb")
                .arg("--extract")
                .arg(&package)
                .arg(&files),
        )?;
        let tarball = find_tarball(&files.join("usr/src"))?;
        if let Some(old) = cached(cache) {
            remove(&old.tree)?;
        }
        unpack(cache, &tarball, &home)?;
        remove(&download)?;
    }
    Ok(owned(id, home))
}

fn owned(id: String, tree: PathBuf) -> Source {
    Source {
        id,
        tree,
        owned: true,
    }
}

fn find_tarball(directory: &Path) -> Result<PathBuf> {
    let files = fs::read_dir(directory).into_iter().flatten().flatten();
    files
        .map(|file| file.path())
        .find(|path| path.to_string_lossy().contains(".tar."))
        .with_context(|| format!("the package has no tarball in {}", directory.display()))
}

/// Unpacks a tarball with one top directory to `home`.
fn unpack(cache: &Cache, tarball: &Path, home: &Path) -> Result<()> {
    let partial = cache.path("source/partial");
    fresh_dir(&partial)?;
    let step = Step::begin("unpack the kernel source", Some(FILES));
    let mut command = Command::new("tar");
    command
        .args(["--extract", "--verbose", "--strip-components=1", "--file"])
        .arg(tarball)
        .arg("--directory")
        .arg(&partial)
        .env("XZ_OPT", "-T0");
    stepped(&mut command, &cache.path("source/log"), &step)?;
    fs::rename(&partial, home).with_context(|| format!("cannot make {}", home.display()))?;
    step.done("unpacked");
    Ok(())
}

/// Identifies a tree we do not own by the name, size and time of each file, which is what
/// make goes by, too.
fn fingerprint(tree: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    let files = WalkDir::new(tree)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| entry.depth() != 1 || entry.file_name() != ".git");
    for entry in files {
        let entry = entry?;
        if entry.file_type().is_dir() {
            continue;
        }
        let metadata = entry.metadata()?;
        let time = metadata
            .modified()?
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let name = entry.path().strip_prefix(tree)?.display();
        hash.update(format!("{name}\0{}\0{}\n", metadata.len(), time.as_nanos()));
    }
    Ok(short(&hash.finalize()))
}

fn short(digest: &[u8]) -> String {
    digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Refuses what is not Linux 7.3.
fn check_version(tree: &Path) -> Result<()> {
    let path = tree.join("Makefile");
    let text = fs::read_to_string(&path).with_context(|| {
        format!(
            "{} is not a kernel source: it has no Makefile",
            tree.display()
        )
    })?;
    let version = (number(&text, "VERSION"), number(&text, "PATCHLEVEL"));
    match version {
        (Some("7"), Some("3")) => Ok(()),
        (Some(major), Some(minor)) => {
            bail!(
                "{} is Linux {major}.{minor}; the patches are for 7.3",
                tree.display()
            )
        }
        _ => bail!("{} is not a kernel's Makefile", path.display()),
    }
}

fn number<'a>(makefile: &'a str, name: &str) -> Option<&'a str> {
    makefile
        .lines()
        .filter_map(|line| line.split_once('='))
        .find(|(left, _)| left.trim() == name)
        .map(|(_, right)| right.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(makefile: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("Makefile"), makefile).unwrap();
        directory
    }

    #[test]
    fn only_linux_7_3_will_do() {
        let right = tree("# SPDX\nVERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 9\n");
        check_version(right.path()).unwrap();
        let wrong = tree("VERSION = 7\nPATCHLEVEL = 30\n");
        let error = check_version(wrong.path()).unwrap_err().to_string();
        assert!(error.contains("Linux 7.30"), "{error}");
        assert!(check_version(tree("all:\n").path()).is_err());
    }

    #[test]
    fn a_changed_file_changes_the_fingerprint_but_git_does_not() {
        let tree = tree("VERSION = 7\n");
        let before = fingerprint(tree.path()).unwrap();
        fs::create_dir(tree.path().join(".git")).unwrap();
        fs::write(tree.path().join(".git/HEAD"), "x").unwrap();
        assert_eq!(fingerprint(tree.path()).unwrap(), before);
        fs::write(tree.path().join("Makefile"), "VERSION = 7 \n").unwrap();
        assert_ne!(fingerprint(tree.path()).unwrap(), before);
    }

    #[test]
    fn a_tree_that_was_built_in_is_refused() {
        let tree = tree("VERSION = 7\nPATCHLEVEL = 3\n");
        fs::write(tree.path().join(".config"), "").unwrap();
        let cache = Cache::at(tree.path());
        let error = from_user(&cache, tree.path()).err().unwrap().to_string();
        assert!(error.contains("mrproper"), "{error}");
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The patch series, applied as `git am` applies it: in order, each as a commit with its
//! own message, without fuzz.

use crate::checkout::Checkout;
use crate::command::output;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One patch, a mail as `git format-patch` writes it.
pub(crate) struct Patch {
    /// Its file name.
    pub(crate) name: String,
    /// The whole mail.
    pub(crate) text: String,
}

impl Patch {
    /// The files the patch changes, adds or removes.
    pub(crate) fn touched(&self) -> BTreeSet<String> {
        self.text.lines().filter_map(touched_by_line).collect()
    }
}

fn touched_by_line(line: &str) -> Option<String> {
    const STARTS: [&str; 4] = ["--- a/", "+++ b/", "rename from ", "rename to "];
    let name = STARTS.iter().find_map(|start| line.strip_prefix(start))?;
    Some(name.split('\t').next()?.to_string())
}

/// Reads the series of this checkout in the order of its file names. The cover letter
/// (`0000-`) is not a patch.
///
/// # Errors
///
/// A patch cannot be read.
pub(crate) fn series(checkout: &Checkout) -> Result<Vec<Patch>> {
    let directory = checkout.path("tools/kernel/patches");
    let mut paths: Vec<PathBuf> = fs::read_dir(&directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|file| file.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "patch")
        })
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Patch { name, text })
    };
    paths
        .into_iter()
        .filter(|path| !is_cover_letter(path))
        .map(read)
        .collect()
}

fn is_cover_letter(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with("0000-"))
}

/// All files that any of the patches touches.
pub(crate) fn touched(patches: &[Patch]) -> BTreeSet<String> {
    patches.iter().flat_map(Patch::touched).collect()
}

/// Applies the series to `tree`. The commits go to the repository `git_dir`, which holds
/// only the touched files and lies outside the tree, so that the kernel's build does not
/// see it.
///
/// # Errors
///
/// A patch does not apply exactly; the error names it and has git's words.
pub(crate) fn apply(patches: &[Patch], tree: &Path, git_dir: &Path) -> Result<()> {
    crate::cache::fresh_dir(git_dir)?;
    let git = || {
        let mut command = Command::new("git");
        command
            .current_dir(tree)
            .env("GIT_DIR", git_dir)
            .env("GIT_WORK_TREE", tree)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env_remove("GIT_INDEX_FILE")
            .args([
                "-c",
                "user.name=shunt",
                "-c",
                "user.email=shunt@localhost",
                "-c",
                "advice.mergeConflict=false",
            ]);
        command
    };
    output(git().args(["init", "--quiet"]))?;
    let present = touched(patches)
        .into_iter()
        .filter(|file| tree.join(file).is_file());
    output(
        git()
            .args(["add", "--force", "--"])
            .args(["Makefile"])
            .args(present),
    )?;
    output(git().args([
        "commit",
        "--quiet",
        "--message",
        "The touched files before the series",
    ]))?;
    for patch in patches {
        let mut command = git();
        command.args(["am", "--quiet", "--whitespace=nowarn"]);
        feed(&mut command, &patch.text)
            .with_context(|| format!("{} does not apply to {}", patch.name, tree.display()))?;
    }
    Ok(())
}

/// Runs a program with `text` as its standard input.
fn feed(command: &mut Command, text: &str) -> Result<()> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start git")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(text.as_bytes())
            .context("git does not read the patch")?;
    }
    let result = child.wait_with_output()?;
    if !result.status.success() {
        let words = [result.stdout, result.stderr].concat();
        anyhow::bail!("{}", String::from_utf8_lossy(&words).trim_end());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &str = "\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: A Person <person@example.org>
Date: Thu, 1 Jan 2026 00:00:00 +0000
Subject: [PATCH 1/1] demo: change the second line

The reason.
---
 file | 2 +-
 1 file changed, 1 insertion(+), 1 deletion(-)

diff --git a/file b/file
--- a/file
+++ b/file
@@ -1,3 +1,3 @@
 one
-two
+zwei
 three
-- 
2.39.5
";

    fn patch() -> Patch {
        Patch {
            name: "0001-demo.patch".into(),
            text: MAIL.into(),
        }
    }

    fn tree(content: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path().join("tree");
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("Makefile"), "VERSION = 7\n").unwrap();
        fs::write(directory.path().join("pristine"), content).unwrap();
        // As in the cache, the file is a hard link to the pristine source.
        fs::hard_link(directory.path().join("pristine"), tree.join("file")).unwrap();
        directory
    }

    #[test]
    fn a_patch_becomes_a_commit_and_leaves_the_pristine_source_alone() {
        let directory = tree("one\ntwo\nthree\n");
        let (tree, git) = (directory.path().join("tree"), directory.path().join("git"));
        apply(&[patch()], &tree, &git).unwrap();
        assert_eq!(
            fs::read_to_string(tree.join("file")).unwrap(),
            "one\nzwei\nthree\n"
        );
        let pristine = fs::read_to_string(directory.path().join("pristine")).unwrap();
        assert_eq!(pristine, "one\ntwo\nthree\n");
        let log = output(
            Command::new("git")
                .arg("--git-dir")
                .arg(&git)
                .args(["log", "--format=%s %an"]),
        );
        assert!(log
            .unwrap()
            .starts_with("demo: change the second line A Person"));
    }

    #[test]
    fn a_patch_that_needs_fuzz_is_refused_by_name() {
        let directory = tree("one\ntwo\nTHREE\n");
        let (tree, git) = (directory.path().join("tree"), directory.path().join("git"));
        let error = format!("{:#}", apply(&[patch()], &tree, &git).unwrap_err());
        assert!(error.contains("0001-demo.patch does not apply"), "{error}");
        assert_eq!(
            fs::read_to_string(tree.join("file")).unwrap(),
            "one\ntwo\nTHREE\n"
        );
    }

    #[test]
    fn touched_files_include_new_and_renamed_ones() {
        let text = "--- /dev/null\n+++ b/new.c\n--- a/old.c\n+++ /dev/null\nrename from x.c\nrename to y.c\n";
        let patch = Patch {
            name: String::new(),
            text: text.into(),
        };
        let names: Vec<String> = patch.touched().into_iter().collect();
        assert_eq!(names, ["new.c", "old.c", "x.c", "y.c"]);
    }

    #[test]
    fn the_cover_letter_is_not_applied() {
        assert!(is_cover_letter(Path::new("p/0000-cover-letter.patch")));
        assert!(!is_cover_letter(Path::new("p/0001-kvm.patch")));
    }
}

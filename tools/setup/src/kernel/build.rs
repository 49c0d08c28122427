// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Building a kernel into its place in the cache.
//!
//! An interrupted build is continued when it began from nothing: the kernel's makefiles
//! record each command after it has succeeded. One that began from a sibling's objects
//! has such records for files that are to be replaced, so it begins again.

use super::config::configure;
use super::entry::{Entry, Stamp};
use super::recipe::Recipe;
use super::source::Source;
use super::{patches, seed};
use crate::cache::{remove, Cache};
use crate::command::{logged, output};
use crate::progress::Step;
use crate::toolchain::Toolchain;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

/// How many lines a build prints, until one was counted here.
const LINES: u64 = 2_100;

/// Marks a build tree that began as a copy.
const SEEDED: &str = "seeded";

/// Builds the kernel of `recipe` from `source` into `entry` and declares it whole.
///
/// # Errors
///
/// A step fails; the log in the entry tells all.
pub(crate) fn build(
    cache: &Cache,
    entry: &Entry,
    recipe: &Recipe,
    source: &Source,
    tools: &Toolchain,
) -> Result<()> {
    if entry.path(SEEDED).exists() {
        remove(entry.directory())?;
    }
    fs::create_dir_all(entry.directory())
        .with_context(|| format!("cannot make {}", entry.directory().display()))?;
    let sibling = seed::find(cache, &recipe.base());
    if !entry.path("source").is_dir() {
        prepare_source(entry, recipe, source, sibling.as_ref())?;
    }
    fs::create_dir_all(entry.build())?;
    configure(entry, &recipe.fragments, tools)?;
    let lines = compile(entry, tools, sibling.as_ref())?;
    install(entry, tools)?;
    let stamp = Stamp {
        base: recipe.base(),
        touched: patches::touched(&recipe.patches),
        lines,
    };
    entry.complete(&stamp)
}

/// Puts the patched source into the entry, with a sibling's build tree when there is one.
fn prepare_source(
    entry: &Entry,
    recipe: &Recipe,
    source: &Source,
    sibling: Option<&seed::Sibling>,
) -> Result<()> {
    let step = Step::begin(&format!("patch {}", source.id), None);
    let partial = entry.path("source.partial");
    remove(&partial)?;
    copy_tree(source, &partial)?;
    patches::apply(&recipe.patches, &partial, &entry.path("source.git"))?;
    if let Some(sibling) = sibling {
        fs::write(entry.path(SEEDED), "")?;
        seed::plant(sibling, &partial, &patches::touched(&recipe.patches))?;
    }
    fs::rename(&partial, entry.path("source")).context("cannot put the source into place")?;
    remove(&entry.path("build"))?;
    std::os::unix::fs::symlink("source/build", entry.path("build"))?;
    step.done(&format!("{} patches applied", recipe.patches.len()));
    Ok(())
}

/// Copies a source: by hard links if it is ours (git replaces a file that it changes),
/// else file by file without its repository.
fn copy_tree(source: &Source, target: &Path) -> Result<()> {
    let mut command = if source.owned {
        let mut command = Command::new("cp");
        command
            .args(["--archive", "--link"])
            .arg(&source.tree)
            .arg(target);
        command
    } else {
        let mut command = Command::new("rsync");
        command
            .args(["--archive", "--exclude=/.git"])
            .arg(format!("{}/", source.tree.display()))
            .arg(target);
        command
    };
    output(&mut command).map(drop)
}

/// Compiles; returns how many lines a build from nothing prints, as far as is known.
fn compile(
    entry: &Entry,
    tools: &Toolchain,
    sibling: Option<&seed::Sibling>,
) -> Result<Option<u64>> {
    let seeded = entry.path(SEEDED).exists();
    let known = sibling.and_then(|sibling| sibling.stamp.lines);
    let total = (!seeded).then(|| known.unwrap_or(LINES));
    let continued =
        entry.build().join("vmlinux.o").exists() || entry.build().join("kernel").exists();
    let step = Step::begin("build the kernel", total);
    let mut make = kernel_make(entry, tools);
    make.args(["bzImage", "vmlinux", "modules"]);
    logged(&mut make, &entry.log(), |line| {
        // "  CC      kernel/fork.o"; everything else is chatter.
        if line.starts_with("  ") {
            step.advance(line);
        }
    })?;
    let count = step.count();
    step.done(&format!("{count} steps"));
    Ok(if seeded || continued {
        known
    } else {
        Some(count)
    })
}

/// A make of the kernel itself, in the entry's build tree.
fn kernel_make(entry: &Entry, tools: &Toolchain) -> Command {
    let mut make = tools.make(&entry.path("source"));
    make.arg(format!("O={}", entry.build().display()));
    make
}

/// Puts what is booted beside the trees it was built in.
fn install(entry: &Entry, tools: &Toolchain) -> Result<()> {
    let step = Step::begin("install the kernel", None);
    fs::copy(
        entry.build().join("arch/x86/boot/bzImage"),
        entry.path("bzImage"),
    )
    .context("the build left no bzImage")?;
    output(
        Command::new("strip")
            .arg("--strip-all")
            .arg("-o")
            .arg(entry.path("vmlinux"))
            .arg(entry.build().join("vmlinux")),
    )?;
    let modules = entry.path("modules");
    remove(&modules)?;
    let mut make = kernel_make(entry, tools);
    make.arg(format!("INSTALL_MOD_PATH={}", modules.display()))
        .args(["INSTALL_MOD_STRIP=1", "modules_install"]);
    logged(&mut make, &entry.log(), |line| step.advance(line))?;
    step.done(&format!("in {}", entry.directory().display()));
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The kernel's configuration: our fragments over `tinyconfig`, and the proof that every
//! symbol asked for was granted.

use super::entry::Entry;
use super::recipe::Fragment;
use crate::cache::fresh_dir;
use crate::command::{logged, output};
use crate::progress::Step;
use crate::toolchain::{Compiler, Toolchain};
use anyhow::{bail, Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Configures `entry`'s build tree. The file is replaced only if it differs, so that an
/// unchanged configuration rebuilds nothing.
///
/// # Errors
///
/// Rust is not usable for this kernel, or a symbol asked for cannot be had; each is named
/// with the value it got.
pub(crate) fn configure(entry: &Entry, fragments: &[Fragment], tools: &Toolchain) -> Result<()> {
    let step = Step::begin("configure", None);
    let scratch = entry.path("config");
    fresh_dir(&scratch)?;
    let make = |target: &str| {
        let mut command = tools.make(&entry.path("source"));
        command.arg(format!("O={}", scratch.display())).arg(target);
        logged(&mut command, &entry.log(), |line| step.advance(line))
    };
    make("rustavailable").context("this kernel cannot be built with the installed Rust")?;
    make("tinyconfig")?;
    merge(entry, fragments)?;
    make("olddefconfig")?;
    let config = fs::read_to_string(scratch.join(".config"))?;
    for fragment in fragments {
        let refused = refused(&fragment.text, &config);
        if !refused.is_empty() {
            bail!(
                "{} asks for what this kernel does not grant (a dependency is off, or the symbol is gone):\n  {}",
                fragment.name,
                refused.join("\n  ")
            );
        }
    }
    let place = entry.build().join(".config");
    if fs::read_to_string(&place).unwrap_or_default() != config {
        fs::write(&place, config).with_context(|| format!("cannot write {}", place.display()))?;
    }
    step.done("every symbol asked for is set");
    Ok(())
}

/// The compiler of the kernel in this build tree, which modules for it must share: the
/// kernel's makefiles do not notice another one until its flags are refused.
///
/// # Errors
///
/// The tree has no configuration.
pub(crate) fn compiler_of(build: &Path) -> Result<Compiler> {
    let path = build.join(".config");
    let config = fs::read_to_string(&path)
        .with_context(|| format!("{} cannot be read; run `make kernel`", path.display()))?;
    Ok(match symbols(&config).get("CONFIG_CC_IS_CLANG") {
        Some(&"y") => Compiler::Clang,
        _ => Compiler::Gcc,
    })
}

/// Puts the fragments over the configuration in the scratch directory.
fn merge(entry: &Entry, fragments: &[Fragment]) -> Result<()> {
    let scratch = entry.path("config");
    let mut files: Vec<PathBuf> = Vec::new();
    for fragment in fragments {
        let file = scratch.join(&fragment.name);
        fs::write(&file, &fragment.text)?;
        files.push(file);
    }
    output(
        Command::new("scripts/kconfig/merge_config.sh")
            .current_dir(entry.path("source"))
            .args(["-m", "-O"])
            .arg(&scratch)
            .arg(scratch.join(".config"))
            .args(files),
    )
    .map(drop)
}

/// The symbols of `fragment` that `config` does not have as asked, with what it has.
fn refused(fragment: &str, config: &str) -> Vec<String> {
    let granted = symbols(config);
    symbols(fragment)
        .into_iter()
        .filter_map(|(name, wanted)| {
            // A symbol whose dependencies are off is not mentioned at all.
            let value = granted.get(name).copied().unwrap_or("n");
            (value != wanted).then(|| format!("{name}: asked for {wanted}, got {value}"))
        })
        .collect()
}

/// The symbols a configuration mentions. `# CONFIG_X is not set` is the value `n`.
fn symbols(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(symbol).collect()
}

fn symbol(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if let Some(off) = line.strip_prefix("# ") {
        let name = off.strip_suffix(" is not set")?;
        return name.starts_with("CONFIG_").then_some((name, "n"));
    }
    line.split_once('=')
        .filter(|(name, _)| name.starts_with("CONFIG_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRANTED: &str = "\
# Automatically generated
CONFIG_SMP=y
CONFIG_KVM=m
# CONFIG_MODULES is not set
CONFIG_NAME=\"a b\"
";

    #[test]
    fn what_is_granted_is_not_named() {
        let asked = "# a comment\nCONFIG_SMP=y\nCONFIG_NAME=\"a b\"\n# CONFIG_MODULES is not set\n# CONFIG_GONE is not set\n";
        assert!(refused(asked, GRANTED).is_empty());
    }

    #[test]
    fn the_compiler_is_the_kernels_own() {
        let tree = tempfile::tempdir().unwrap();
        assert!(compiler_of(tree.path()).is_err());
        let compiler = |config: &str| {
            fs::write(tree.path().join(".config"), config).unwrap();
            compiler_of(tree.path()).unwrap()
        };
        assert!(compiler("CONFIG_CC_IS_GCC=y\n") == Compiler::Gcc);
        assert!(compiler("CONFIG_CC_IS_CLANG=y\n") == Compiler::Clang);
    }

    #[test]
    fn each_refused_symbol_is_named_with_both_values() {
        let asked = "CONFIG_KVM=y\nCONFIG_MODULES=y\nCONFIG_GONE=y\n# CONFIG_SMP is not set\nCONFIG_NAME=\"c\"\n";
        assert_eq!(
            refused(asked, GRANTED),
            [
                "CONFIG_GONE: asked for y, got n",
                "CONFIG_KVM: asked for y, got m",
                "CONFIG_MODULES: asked for y, got n",
                "CONFIG_NAME: asked for \"c\", got \"a b\"",
                "CONFIG_SMP: asked for n, got y",
            ]
        );
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the installed Rust needs beside the compiler: the source of its library (the
//! kernel builds its own `core`), rustfmt and clippy.
//!
//! Each comes from where rustc came from: rustup's own component, else Debian's package.
//! The library source must be of exactly rustc's version.

use crate::apt::{find_for_unpacking, upstream};
use crate::cache::{fresh_dir, point_link, Cache};
use crate::command::{find_program, output};
use anyhow::{bail, Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A part of Rust: rustup's name for it and the file it brings below the sysroot.
struct Component {
    name: &'static str,
    file: &'static str,
}

const LIBRARY: Component = Component {
    name: "rust-src",
    file: "lib/rustlib/src/rust/library/core/src/lib.rs",
};

const TOOLS: [Component; 2] = [
    Component {
        name: "clippy",
        file: "bin/clippy-driver",
    },
    Component {
        name: "rustfmt",
        file: "bin/rustfmt",
    },
];

/// Brings the missing components.
///
/// # Errors
///
/// One is missing and can be had neither from rustup nor from Debian; the error says what
/// was tried and what to do.
pub(crate) fn prepare(cache: &Cache) -> Result<()> {
    let sysroot = PathBuf::from(output(Command::new("rustc").args(["--print", "sysroot"]))?.trim());
    for tool in TOOLS {
        if !sysroot.join(tool.file).exists() {
            from_rustup(&tool, &sysroot).with_context(|| {
                format!("{0} is missing; install the package of it that belongs to your rustc (rustup component add {0}, or rust-{0})", tool.name)
            })?;
        }
    }
    if sysroot.join(LIBRARY.file).exists() {
        return Ok(());
    }
    let Err(rustup) = from_rustup(&LIBRARY, &sysroot) else {
        return Ok(());
    };
    let version = rustc_version()?;
    from_debian(cache, &sysroot, &version).with_context(|| {
        format!(
            "the library source of rustc {version} is missing. rustup: {rustup:#}. \
             Remedy: `rustup component add rust-src`, or unpack the source of exactly this version to {}",
            sysroot.join("lib/rustlib/src/rust").display()
        )
    })
}

fn from_rustup(component: &Component, sysroot: &Path) -> Result<()> {
    if find_program("rustup").is_none() {
        bail!("rustup is not installed");
    }
    output(Command::new("rustup").args(["component", "add", component.name]))?;
    if !sysroot.join(component.file).exists() {
        bail!(
            "rustup added {} elsewhere than {}",
            component.name,
            sysroot.display()
        );
    }
    eprintln!("setup: added {} by rustup", component.name);
    Ok(())
}

/// Unpacks Debian's package of the same version into the cache and links it into the sysroot.
fn from_debian(cache: &Cache, sysroot: &Path, version: &str) -> Result<()> {
    let _lock = cache.lock()?;
    let home = cache.path("rust-src").join(version);
    if !home.is_dir() {
        let (view, offer) = find_for_unpacking(cache, "rust-src", |offer| {
            is_release(upstream(&offer.version), version)
        })?
        .with_context(|| format!("no suite of this machine's mirror has rust-src {version}"))?;
        let package = view.download("rust-src", &offer, &cache.path("rust-src/download"))?;
        let partial = cache.path("rust-src/partial");
        fresh_dir(&partial)?;
        output(
            Command::new("dpkg-deb")
                .arg("--extract")
                .arg(&package)
                .arg(&partial),
        )?;
        fs::rename(&partial, &home)?;
        crate::cache::remove(&cache.path("rust-src/download"))?;
    }
    let source = home.join(format!("usr/src/rustc-{version}"));
    if !source.join("library/core/src/lib.rs").exists() {
        bail!("the package has no library source at {}", source.display());
    }
    point_link(&sysroot.join("lib/rustlib/src/rust"), &source)
}

/// Whether a Debian upstream version is that release of Rust (`1.95.0+dfsg1` is 1.95.0).
fn is_release(upstream: &str, release: &str) -> bool {
    upstream
        .strip_prefix(release)
        .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit() || next == '.'))
}

fn rustc_version() -> Result<String> {
    let text = output(Command::new("rustc").arg("--version"))?;
    let version = text
        .split_whitespace()
        .nth(1)
        .context("rustc names no version")?;
    Ok(version.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_same_release_matches() {
        assert!(is_release("1.95.0+dfsg1", "1.95.0"));
        assert!(is_release("1.95.0", "1.95.0"));
        assert!(!is_release("1.95.01", "1.95.0"));
        assert!(!is_release("1.95.0.1", "1.95.0"));
        assert!(!is_release("1.85.0+dfsg1", "1.95.0"));
    }
}

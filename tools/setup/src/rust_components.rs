// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the installed Rust needs beside the compiler: the source of its library (the
//! kernel builds its own `core`), rustfmt and clippy.
//!
//! Each comes from where rustc came from: rustup's own component, else Debian's package.
//! The library source must be of exactly rustc's version.

use crate::apt::{find_for_unpacking, upstream};
use crate::cache::{fresh_dir, point_link, Cache};
use crate::command::{find_program, output};
use crate::host::{install_by_name, release};
use anyhow::{anyhow, bail, Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A part of Rust.
struct Component {
    /// rustup's name for it.
    name: &'static str,
    /// Debian's package of it.
    package: &'static str,
    /// The file it brings below the sysroot.
    file: &'static str,
}

const LIBRARY: Component = Component {
    name: "rust-src",
    package: "rust-src",
    file: "lib/rustlib/src/rust/library/core/src/lib.rs",
};

const TOOLS: [Component; 2] = [
    Component {
        name: "clippy",
        package: "rust-clippy",
        file: "bin/clippy-driver",
    },
    Component {
        name: "rustfmt",
        package: "rustfmt",
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
    for component in TOOLS.iter().chain([&LIBRARY]) {
        if !sysroot.join(component.file).exists() {
            bring(cache, component, &sysroot)?;
        }
    }
    Ok(())
}

/// Brings one component from where rustc came from.
fn bring(cache: &Cache, component: &Component, sysroot: &Path) -> Result<()> {
    if find_program("rustup").is_some() && from_rustup(component, sysroot) {
        return Ok(());
    }
    let version = rustc_version()?;
    let result = if sysroot == Path::new("/usr") && release()?.is_debian() {
        install_by_name(cache, component.package)
    } else if component.name == LIBRARY.name {
        from_debian(cache, sysroot, &version)
    } else {
        Err(anyhow!("rustup did not add it"))
    };
    result.with_context(|| {
        format!(
            "{} of rustc {version} is missing. Remedy: `rustup component add {0}`, or bring {} of exactly this version",
            component.name,
            sysroot.join(component.file).display()
        )
    })
}

/// Whether rustup could add the component to the toolchain in use.
fn from_rustup(component: &Component, sysroot: &Path) -> bool {
    let result = output(Command::new("rustup").args(["component", "add", component.name]));
    if let Err(error) = &result {
        eprintln!("setup: {error:#}");
    }
    result.is_ok() && sysroot.join(component.file).exists()
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

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A package with all that it depends on, down to the C library, to be unpacked aside: a
//! program of another release that runs on this one without being installed.

use super::{newest, Offer, View};
use crate::cache::{fresh_dir, Cache};
use crate::command::{logged, output};
use crate::progress::Step;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A release and its backports, which together have everything.
const SUITES: [&str; 2] = ["trixie", "trixie-backports"];

/// Finds the newest version of `package` that `accept` likes. `None`: neither suite has one.
///
/// # Errors
///
/// The machine's sources name no Debian archive, or apt fails.
pub(crate) fn find_standalone(
    cache: &Cache,
    package: &str,
    accept: impl Fn(&Offer) -> bool,
) -> Result<Option<(View, Offer)>> {
    let view = View::private(cache, &SUITES)?;
    let offer = newest(view.offers(package)?, accept)?;
    Ok(offer.map(|offer| (view, offer)))
}

impl View {
    /// Downloads a package and its dependencies, as if nothing were installed, and unpacks
    /// them all into `root`, which is made anew.
    ///
    /// # Errors
    ///
    /// A download or a package fails; the error has apt's or dpkg's words.
    pub(crate) fn unpack_standalone(
        &self,
        package: &str,
        offer: &Offer,
        root: &Path,
    ) -> Result<()> {
        let download = root.with_extension("download");
        fresh_dir(&download.join("partial"))?;
        let step = Step::begin(&format!("download {package} {}", offer.version), None);
        let nothing = download.join("nothing-installed");
        fs::write(&nothing, "")?;
        let mut command = self.command("apt-get");
        command
            .args(["-o", &format!("Dir::State::status={}", nothing.display())])
            .args([
                "-o",
                &format!("Dir::Cache::archives={}", download.display()),
            ])
            .args(["--yes", "--download-only", "--no-install-recommends"])
            .args(["--target-release", &offer.suite, "install"])
            .arg(format!("{package}={}", offer.version));
        logged(&mut command, &download.join("log"), |line| {
            step.advance(line)
        })?;
        fresh_dir(root)?;
        for file in packages(&download)? {
            let mut command = Command::new("dpkg-deb");
            output(command.arg("--extract").arg(file).arg(root))?;
        }
        step.done(&format!("from {}", offer.suite));
        crate::cache::remove(&download)
    }
}

fn packages(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("{}", directory.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            files.push(path);
        }
    }
    Ok(files)
}

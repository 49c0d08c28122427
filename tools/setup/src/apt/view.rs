// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! One set of package lists, and what can be done with it.

use super::sources;
use crate::cache::{fresh_dir, Cache};
use crate::command::{logged, output};
use crate::host::release;
use crate::progress::Step;
use anyhow::{bail, Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A version of a package that can be had.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Offer {
    /// The Debian version.
    pub(crate) version: String,
    /// The suite that carries it.
    pub(crate) suite: String,
}

/// The machine's own lists, or private ones that know more suites.
pub(crate) struct View {
    options: Vec<String>,
}

impl View {
    /// What the machine's own apt knows.
    pub(crate) fn system() -> Self {
        Self { options: vec![] }
    }

    /// The machine's release plus `suites` from the same mirror, looked up now.
    ///
    /// A suite that the mirror does not have is passed over; what is missing then shows
    /// when a package is asked for.
    ///
    /// # Errors
    ///
    /// The machine's sources name no Debian archive, or the lists cannot be written.
    pub(crate) fn private(cache: &Cache, suites: &[&str]) -> Result<Self> {
        let codename = release()?.codename;
        let known = sources::read_all(Path::new("/etc/apt"))?;
        let Some(entries) = sources::widen(&known, &codename, suites) else {
            bail!("the sources in /etc/apt name no archive with main of {codename}, so {} cannot be looked up", suites.join(", "));
        };
        Self::of(cache, &suites.join("+"), suites, "deb", &entries)
    }

    /// The sources of one suite's packages, from the same mirror as the machine's release.
    ///
    /// # Errors
    ///
    /// Those of [`private`](Self::private).
    pub(crate) fn sources(cache: &Cache, suite: &str) -> Result<Self> {
        let codename = release()?.codename;
        let known = sources::read_all(Path::new("/etc/apt"))?;
        let archive = sources::archive(&known, &codename);
        let archive = archive.with_context(|| format!("no archive with main of {codename}"))?;
        let entries = [archive.with_suites(&[suite])];
        let name = format!("{suite}-sources");
        Self::of(cache, &name, &[suite], "deb-src", &entries)
    }

    /// Lists of these entries, looked up now, below `name` in the cache.
    fn of(
        cache: &Cache,
        name: &str,
        suites: &[&str],
        types: &str,
        entries: &[sources::Entry],
    ) -> Result<Self> {
        let root = cache.path("apt").join(name);
        for part in ["sources", "lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(root.join(part))
                .with_context(|| format!("cannot make {}", root.display()))?;
        }
        let stanzas: Vec<String> = entries.iter().map(|entry| entry.stanza(types)).collect();
        fs::write(root.join("sources/shunt.sources"), stanzas.join("\n"))?;
        let view = Self {
            options: private_options(&root),
        };
        view.update(&root.join("log"), suites);
        Ok(view)
    }

    /// The versions of `package` in this view.
    ///
    /// # Errors
    ///
    /// `apt-cache` fails.
    pub(crate) fn offers(&self, package: &str) -> Result<Vec<Offer>> {
        let text = output(self.command("apt-cache").args(["madison", package]))?;
        Ok(parse_madison(&text))
    }

    /// Downloads one package file into `directory`, which is emptied before.
    ///
    /// # Errors
    ///
    /// The download fails; the error has apt's words.
    pub(crate) fn download(
        &self,
        package: &str,
        offer: &Offer,
        directory: &Path,
    ) -> Result<PathBuf> {
        fresh_dir(directory)?;
        let step = Step::begin(&format!("download {package} {}", offer.version), Some(100));
        let mut command = self.command("apt-get");
        command
            .args(["-o", "APT::Status-Fd=1", "download"])
            .arg(format!("{package}={}", offer.version))
            .current_dir(directory);
        logged(&mut command, &directory.join("log"), |line| {
            if let Some(percent) = parse_percent(line) {
                step.reach(percent, "");
            }
        })?;
        step.done(&format!("from {}", offer.suite));
        fs::read_dir(directory)?
            .flatten()
            .map(|file| file.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .with_context(|| {
                format!(
                    "apt-get download left no package in {}",
                    directory.display()
                )
            })
    }

    /// Downloads the newest source of a package into `directory`, which is emptied before: its tarball,
    /// without Debian's changes.
    ///
    /// # Errors
    ///
    /// The download fails; the error has apt's words.
    pub(crate) fn download_source(&self, package: &str, directory: &Path) -> Result<PathBuf> {
        fresh_dir(directory)?;
        let step = Step::begin(&format!("download the source of {package}"), Some(100));
        let mut command = self.command("apt-get");
        command
            .args(["-o", "APT::Status-Fd=1", "source", "--download-only"])
            .args(["--only-source", package])
            .current_dir(directory);
        logged(&mut command, &directory.join("log"), |line| {
            if let Some(percent) = parse_percent(line) {
                step.reach(percent, "");
            }
        })?;
        step.done("whole");
        let files = fs::read_dir(directory)?.flatten().map(|file| file.path());
        let mut tarballs = files.filter(|path| path.to_string_lossy().contains(".orig.tar."));
        tarballs
            .find(|path| path.extension().is_some_and(|last| last != "asc"))
            .with_context(|| format!("the source of {package} has no tarball"))
    }

    /// The options that make apt use this view.
    pub(crate) fn options(&self) -> &[String] {
        &self.options
    }

    fn update(&self, log: &Path, suites: &[&str]) {
        let step = Step::begin(&format!("look up {}", suites.join(", ")), None);
        let result = logged(self.command("apt-get").arg("update"), log, |line| {
            step.advance(line)
        });
        step.done(if result.is_ok() {
            "known"
        } else {
            "not all known"
        });
    }

    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options).env("LC_ALL", "C.UTF-8");
        command
    }
}

fn private_options(root: &Path) -> Vec<String> {
    [
        "Dir::Etc::sourcelist=/dev/null".to_string(),
        format!("Dir::Etc::sourceparts={}", root.join("sources").display()),
        format!("Dir::State::lists={}", root.join("lists").display()),
        format!("Dir::Cache={}", root.join("cache").display()),
        // The cache is below somebody's home, where apt's own user may not look.
        "APT::Sandbox::User=root".to_string(),
        "Acquire::Languages=none".to_string(),
    ]
    .into_iter()
    .flat_map(|option| ["-o".to_string(), option])
    .collect()
}

/// Reads lines such as `qemu | 1:10.0.2-2 | http://mirror/debian trixie/main amd64 Packages`.
fn parse_madison(text: &str) -> Vec<Offer> {
    text.lines()
        .filter_map(|line| {
            let mut columns = line.split('|').map(str::trim);
            let (_, version, place) = (columns.next()?, columns.next()?, columns.next()?);
            let (suite, _) = place.split_whitespace().nth(1)?.split_once('/')?;
            place.ends_with("Packages").then(|| Offer {
                version: version.to_string(),
                suite: suite.to_string(),
            })
        })
        .collect()
}

/// Reads the percentage from a status line such as `dlstatus:1:42.5:Retrieving file 1 of 1`.
fn parse_percent(line: &str) -> Option<u64> {
    let mut fields = line.strip_prefix("dlstatus:")?.split(':');
    let percent: f64 = fields.nth(1)?.parse().ok()?;
    Some(percent as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn madison_lists_versions_with_their_suites() {
        let text = "\
qemu-system-x86 | 1:10.0.2+ds-2~bpo12+1 | http://m.example/debian bookworm-backports/main amd64 Packages
qemu-system-x86 | 1:7.2+dfsg-7 | http://m.example/debian bookworm/main amd64 Packages
      qemu | 1:7.2+dfsg-7 | http://m.example/debian bookworm/main Sources
";
        let offers = parse_madison(text);
        assert_eq!(offers.len(), 2);
        assert_eq!(offers[0].suite, "bookworm-backports");
        assert_eq!(offers[1].version, "1:7.2+dfsg-7");
    }

    #[test]
    fn percent_of_a_download() {
        assert_eq!(
            parse_percent("dlstatus:1:42.9:Retrieving file 1 of 1"),
            Some(42)
        );
        assert_eq!(parse_percent("Get:1 http://m.example x"), None);
    }
}

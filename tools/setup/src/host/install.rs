// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Installing Debian packages, as root or through sudo.

use super::need::Need;
use super::release;
use crate::apt::{newest, upstream, Offer, View};
use crate::cache::Cache;
use crate::command::{find_program, logged};
use crate::progress::Step;
use anyhow::{bail, Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Installs the packages that bring what is missing.
///
/// # Errors
///
/// We are not root and have no sudo, a package is not to be had in a version that will
/// do, apt fails, or a need is still not met afterwards.
pub(crate) fn packages(cache: &Cache, missing: &[&Need]) -> Result<()> {
    let log = cache.path("apt/install.log");
    fs::create_dir_all(cache.path("apt"))?;
    apt_get(&log, &View::system(), &["update"]).with_context(|| by_hand(missing))?;
    let (special, plain): (Vec<&Need>, Vec<&Need>) = missing
        .iter()
        .copied()
        .partition(|need| need.may_need_backports());
    let mut names: Vec<&str> = plain.iter().map(|need| need.package).collect();
    names.dedup();
    if !names.is_empty() {
        install(&log, &View::system(), &names)?;
    }
    for need in special {
        let (view, offer) = choose(cache, need)?;
        let mut words = vec![need.package];
        // A backport wants its companions from backports, too.
        if offer.suite.ends_with("-backports") {
            words.extend(["-t", &offer.suite]);
        }
        install(&log, &view, &words)?;
    }
    let still: Vec<&str> = missing
        .iter()
        .filter(|need| !need.is_met())
        .map(|need| need.name)
        .collect();
    if !still.is_empty() {
        bail!(
            "the packages are installed but these are still not found: {}",
            still.join(", ")
        );
    }
    Ok(())
}

/// What somebody who may install packages has to do.
fn by_hand(missing: &[&Need]) -> String {
    let names: Vec<&str> = missing.iter().map(|need| need.package).collect();
    format!(
        "packages are missing; as root: apt-get install {}",
        names.join(" ")
    )
}

/// Installs one package from what the machine's apt knows.
///
/// # Errors
///
/// We are not root and have no sudo, or apt fails.
pub(crate) fn install_by_name(cache: &Cache, package: &str) -> Result<()> {
    let _lock = cache.lock()?;
    fs::create_dir_all(cache.path("apt"))?;
    install(&cache.path("apt/install.log"), &View::system(), &[package])
}

/// Finds where a package comes from that the release may have too old.
fn choose(cache: &Cache, need: &Need) -> Result<(View, Offer)> {
    let accept = |offer: &Offer| need.is_met_by(upstream(&offer.version));
    let known = View::system();
    if let Some(offer) = newest(known.offers(need.package)?, accept)? {
        return Ok((known, offer));
    }
    let backports = format!("{}-backports", release()?.codename);
    let view = View::private(cache, &[&backports])?;
    let offer = newest(view.offers(need.package)?, accept)?.with_context(|| {
        format!(
            "no {} among the packages, not even in {backports}",
            need.name
        )
    })?;
    Ok((view, offer))
}

fn install(log: &Path, view: &View, words: &[&str]) -> Result<()> {
    let mut all = vec!["install", "--yes", "--no-install-recommends"];
    all.extend(words);
    apt_get(log, view, &all)
}

fn apt_get(log: &Path, view: &View, words: &[&str]) -> Result<()> {
    let mut command = as_root()?;
    command
        .args([
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "LC_ALL=C.UTF-8",
            "apt-get",
        ])
        .args(view.options())
        .args(words);
    let what: Vec<&str> = words
        .iter()
        .copied()
        .filter(|word| !word.starts_with("--"))
        .collect();
    let step = Step::begin(&format!("apt-get {}", what.join(" ")), None);
    logged(&mut command, log, |line| step.advance(line))?;
    step.done("done");
    Ok(())
}

/// A command that runs its arguments as root.
fn as_root() -> Result<Command> {
    if rustix::process::geteuid().is_root() {
        // `env` runs the rest; as the first word it makes both cases alike.
        return Ok(Command::new("env"));
    }
    let sudo = find_program("sudo").context("this user is not root and there is no sudo")?;
    Ok(Command::new(sudo))
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Builds the programs that run inside L1: static, so that they need no library there.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{ensure, Context, Result};
use serde::Deserialize;

use crate::out::Places;
use crate::progress::Step;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The packages whose programs go into L1's `/bin`.
const PACKAGES: &[&str] = &[
    "l1",
    "shunt-vmm",
    "shunt-blk",
    "shunt-rogue",
    "shunt-net",
    "shunt-traffic",
    "shunt-rng",
    "shunt-console",
    "selftests",
    "hostile",
    "fe_tests",
    "fe_bench",
    "irq_tests",
    "shunt-irq",
    "bench",
    "shunt-top",
];

/// A program that cargo made.
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// What we read of cargo's messages: one for each crate that is built or found fresh.
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds them all, or finds that they are up to date.
///
/// # Errors
///
/// One of them does not compile; cargo has printed why.
pub(crate) fn build(places: &Places) -> Result<Vec<Program>> {
    let step = Step::start("programs for L1");
    let mut command = Command::new("cargo");
    command
        .args(["build", "--quiet", "--release", "--target", TARGET])
        .arg("--manifest-path")
        .arg(places.source("tools/Cargo.toml"))
        .arg("--message-format=json-render-diagnostics")
        .args(["--config", "profile.release.strip=true"])
        .args([
            "--config",
            &format!("target.{TARGET}.rustflags=['-Ctarget-feature=+crt-static']"),
        ])
        .env_remove("RUSTFLAGS")
        .stdout(Stdio::piped());
    for package in PACKAGES {
        command.args(["--package", package]);
    }
    let mut cargo = command.spawn().context("starting cargo")?;
    let messages = cargo.stdout.take().context("no stdout")?;
    let mut programs = Vec::new();
    for line in BufReader::new(messages).lines() {
        let message: Message = serde_json::from_str(&line?).context("cargo's messages")?;
        if let Some(target) = message.target {
            step.now(target.name);
        }
        if let Some(path) = message.executable {
            let name = path.file_name().context("no name")?;
            let name = name.to_string_lossy().into_owned();
            programs.push(Program { name, path });
        }
    }
    let status = cargo.wait().context("waiting for cargo")?;
    ensure!(status.success(), "the programs for L1 do not build");
    step.done();
    Ok(programs)
}

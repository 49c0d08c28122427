// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Our server, as a process.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{ensure, Context, Result};

use super::SOCKET;
use crate::companion;
use crate::out::Places;

/// A `shunt-blk` that listens. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts one that serves the file `image` of `directory`, and waits until it listens.
    ///
    /// # Errors
    ///
    /// It does not start, or ends before it listens.
    pub(crate) fn start(places: &Places, directory: &Path, image: &str) -> Result<Self> {
        let programs = companion::build(places)?;
        let program = programs.iter().find(|program| program.name == "shunt-blk");
        let program = &program.context("shunt-blk is not among the programs")?.path;
        let log = directory.join("server.log");
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .args(["--vfio-user", SOCKET, "--image", image])
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).with_context(|| log.display().to_string())?)
            .spawn()
            .context("starting shunt-blk")?;
        let stdout = child.stdout.take().context("no stdout")?;
        let server = Self { child, log };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(
            line.starts_with("listening"),
            "shunt-blk does not listen: {}",
            server.words()?
        );
        Ok(server)
    }

    /// What it complained about so far.
    ///
    /// # Errors
    ///
    /// Its log cannot be read.
    pub(crate) fn words(&self) -> Result<String> {
        fs::read_to_string(&self.log).with_context(|| self.log.display().to_string())
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    ///
    /// It was dead before.
    pub(crate) fn kill(mut self) -> Result<()> {
        let ended = self.child.try_wait().context("waiting for shunt-blk")?;
        ensure!(ended.is_none(), "shunt-blk ended by itself: {ended:?}");
        self.child.kill().context("killing shunt-blk")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Neither can fail for a child that is ours, be it dead or alive.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

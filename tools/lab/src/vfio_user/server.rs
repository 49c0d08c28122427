// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Our server, as a process.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{ensure, Context, Result};

use crate::companion;
use crate::out::Places;

/// A device process that listens. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `program` with these `words`, to serve clients at the socket `socket` of `directory`,
    /// and waits until it listens.
    ///
    /// # Errors
    ///
    /// It does not start, or ends before it listens.
    pub(crate) fn start(
        places: &Places,
        directory: &Path,
        socket: &str,
        program: &str,
        words: &[&str],
    ) -> Result<Self> {
        let programs = companion::build(places)?;
        let found = programs.iter().find(|found| found.name == program);
        let path = &found.with_context(|| format!("no program {program}"))?.path;
        let log = directory.join(format!("{socket}.log"));
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(path)
            .args(["--vfio-user", socket])
            .args(words)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).with_context(|| log.display().to_string())?)
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        let stdout = child.stdout.take().context("no stdout")?;
        let server = Self { child, log };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(
            line.starts_with("listening"),
            "{program} does not listen: {}",
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
        let ended = self.child.try_wait().context("waiting for the server")?;
        ensure!(ended.is_none(), "the server ended by itself: {ended:?}");
        self.child.kill().context("killing the server")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Neither can fail for a child that is ours, be it dead or alive.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

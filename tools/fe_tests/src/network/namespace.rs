// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A network stack of its own, so that packets between two devices of one machine take the wire.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use rustix::thread::{move_into_link_name_space, LinkNameSpaceType};

use crate::program;

const BUSYBOX: &str = "/bin/busybox";

/// Says that it is there, and stays as long as its standard input.
const HOLD: &str = "echo; exec /bin/busybox cat >/dev/null";

/// A network namespace, which is there until this is dropped.
pub struct Namespace {
    /// Lives in it until its standard input ends.
    holder: Child,
}

impl Namespace {
    /// A new one.
    pub fn new() -> Result<Self> {
        let mut holder = Command::new(BUSYBOX)
            .args(["unshare", "-n", "sh", "-c", HOLD])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context(BUSYBOX)?;
        let ready = holder.stdout.take().context("it has no output")?;
        BufReader::new(ready).read_line(&mut String::new())?;
        Ok(Self { holder })
    }

    /// A process in it, by which the kernel knows it.
    pub fn id(&self) -> u32 {
        self.holder.id()
    }

    /// Begins something in it.
    pub fn spawn<R: Send + 'static>(
        &self,
        task: impl FnOnce() -> Result<R> + Send + 'static,
    ) -> Result<JoinHandle<Result<R>>> {
        let path = format!("/proc/{}/ns/net", self.id());
        let namespace = File::open(&path).context(path)?;
        Ok(thread::spawn(move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), kind).context("entering a namespace")?;
            task()
        }))
    }

    /// Does something in it.
    pub fn run<R: Send + 'static>(
        &self,
        task: impl FnOnce() -> Result<R> + Send + 'static,
    ) -> Result<R> {
        join(self.spawn(task)?)
    }

    /// Runs busybox's `ip` in it.
    pub fn ip(&self, words: &str) -> Result<()> {
        let words = words.to_owned();
        self.run(move || ip(&words))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// The result of a thread, a panic of which is ours.
///
/// # Errors
///
/// Its own.
pub fn join<R>(thread: JoinHandle<Result<R>>) -> Result<R> {
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Runs busybox's `ip`.
///
/// # Errors
///
/// It fails, and says why.
pub fn ip(words: &str) -> Result<()> {
    run("ip", words).map(drop)
}

/// Runs one of busybox's programs; what it says.
pub(super) fn run(program: &str, words: &str) -> Result<String> {
    let mut busybox = Command::new(BUSYBOX);
    program::run(busybox.arg(program).args(words.split_whitespace()))
}

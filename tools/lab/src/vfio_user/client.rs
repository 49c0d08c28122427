// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! QEMU as a vfio-user client. It has to be 10.1 or newer, which the QEMU that runs L1 need not be.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use rustix::process::{kill_process, Pid, Signal};
use wait_timeout::ChildExt;

use super::SOCKET;
use crate::images::Images;
use crate::qemu::Program;

/// How long a QEMU may take to end when it is asked to.
const END: Duration = Duration::from_secs(30);

/// What a guest's memory is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// A memfd that the server can map.
    Shared,
    /// QEMU's own, which it reads and writes for the server.
    Private,
}

/// A line that came from a [`Guest`].
pub(crate) enum Seen {
    /// Of the guest's console.
    Console(String),
    /// Of QEMU itself.
    Qemu(String),
}

/// As for the guests of L1.
const CMDLINE: &str =
    "console=ttyS0 loglevel=5 panic=-1 root=/dev/vda rw init=/init shunt.guest=work";

/// A QEMU and what it prints. Dropping it kills it.
pub(crate) struct Guest {
    child: Child,
    lines: Receiver<Seen>,
}

impl Guest {
    /// Boots a guest from the disk at the server's socket in `directory`.
    ///
    /// # Errors
    ///
    /// QEMU cannot be started.
    pub(crate) fn boot(
        qemu: &Program,
        images: &Images,
        directory: &Path,
        memory: Memory,
        words: &str,
    ) -> Result<Self> {
        let device =
            format!(r#"{{"driver":"vfio-user-pci","socket":{{"path":"{SOCKET}","type":"unix"}}}}"#);
        let kernel = images.kernel.canonicalize().context("the kernel")?;
        let mut command = qemu.command();
        if memory == Memory::Shared {
            command
                .args(["-machine", "memory-backend=ram"])
                .args(["-object", "memory-backend-memfd,id=ram,size=256M,share=on"]);
        }
        let child = command
            .args(["-machine", "q35", "-accel", "tcg"])
            .args(["-m", "256", "-cpu", "max", "-no-reboot", "-nodefaults"])
            .args(["-display", "none", "-monitor", "none", "-serial", "stdio"])
            .arg("-kernel")
            .arg(kernel)
            .args(["-append", &format!("{CMDLINE} {words}")])
            .args(["-device", &device])
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting QEMU")?;
        Self::follow(child)
    }

    fn follow(mut child: Child) -> Result<Self> {
        let console = child.stdout.take().context("no stdout")?;
        let words = child.stderr.take().context("no stderr")?;
        let (to_us, lines) = mpsc::channel();
        forward(console, to_us.clone(), Seen::Console);
        forward(words, to_us, Seen::Qemu);
        Ok(Self { child, lines })
    }

    /// The next line, or `None` when both outputs have ended.
    ///
    /// # Errors
    ///
    /// There is none before `deadline`.
    pub(crate) fn line(&self, deadline: Instant) -> Result<Option<Seen>> {
        let rest = deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(rest) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => bail!("the guest said nothing more in time"),
        }
    }

    /// Waits for QEMU's end after its outputs have ended.
    ///
    /// # Errors
    ///
    /// It does not end.
    pub(crate) fn end(mut self) -> Result<ExitStatus> {
        let status = self.child.wait_timeout(END).context("waiting for QEMU")?;
        status.with_context(|| format!("QEMU does not end within {END:?}"))
    }

    /// Asks QEMU's main loop to end, which it cannot if it hangs.
    ///
    /// # Errors
    ///
    /// It hangs.
    pub(crate) fn terminate(self) -> Result<ExitStatus> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).context("SIGTERM for QEMU")?;
        self.end()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Neither can fail for a child that is ours, be it dead or alive.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends each line on from a thread, which ends with the output.
fn forward(output: impl Read + Send + 'static, to_us: Sender<Seen>, kind: fn(String) -> Seen) {
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if to_us.send(kind(line)).is_err() {
                return;
            }
        }
    });
}

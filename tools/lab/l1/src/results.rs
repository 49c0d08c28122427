// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The sending end of the results channel: the second serial port.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::Mutex;

use anyhow::{Context, Result};
use l1::event::Event;
use rustix::termios::{tcdrain, tcgetattr, tcsetattr, OptionalActions};

const PORT: &str = "/dev/ttyS1";

/// The results channel; threads may share it.
pub(crate) struct Results {
    port: Mutex<File>,
}

impl Results {
    /// Opens the port and turns off what a terminal does to the bytes.
    pub(crate) fn open() -> Result<Self> {
        let port = OpenOptions::new()
            .read(true)
            .write(true)
            .open(PORT)
            .context(PORT)?;
        let mut termios = tcgetattr(&port).context(PORT)?;
        termios.make_raw();
        tcsetattr(&port, OptionalActions::Now, &termios).context(PORT)?;
        Ok(Self {
            port: Mutex::new(port),
        })
    }

    /// Sends one event, whole.
    pub(crate) fn send(&self, event: &Event) -> Result<()> {
        let line = event.line()?;
        let mut port = self.port.lock().unwrap_or_else(|dead| dead.into_inner());
        port.write_all(line.as_bytes()).context(PORT)
    }

    /// Tells the user what happens now.
    pub(crate) fn step(&self, text: &str) -> Result<()> {
        self.send(&Event::Step { text: text.into() })
    }

    /// Sends every line of `source` until its end, after `seen` had a look at it.
    pub(crate) fn forward(
        &self,
        source: impl Read,
        stream: &str,
        mut seen: impl FnMut(&str),
    ) -> Result<()> {
        let mut source = BufReader::new(source);
        let mut bytes = Vec::new();
        while source.read_until(b'\n', &mut bytes).context("reading")? > 0 {
            let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            seen(&text);
            let stream = stream.to_owned();
            self.send(&Event::Line { stream, text })?;
            bytes.clear();
        }
        Ok(())
    }

    /// Returns when everything sent has left the port.
    pub(crate) fn drain(&self) -> Result<()> {
        let port = self.port.lock().unwrap_or_else(|dead| dead.into_inner());
        tcdrain(&*port).context(PORT)
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! QEMU's monitor for programs: a line of JSON for each command, answer and event
//! (`docs/interop/qmp-spec.rst` of QEMU).

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use serde_json::{json, Value};

use super::escaped;

/// A QEMU, or a guest that it waits for, that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// QEMU's arguments for a monitor at this socket.
pub(crate) fn arguments(socket: &Path) -> [String; 2] {
    let socket = escaped(socket);
    [
        "-qmp".to_owned(),
        format!("unix:{socket},server=on,wait=off"),
    ]
}

/// A connection to the monitor.
pub(crate) struct Monitor {
    stream: BufReader<UnixStream>,
    /// What happened while we waited for an answer.
    events: Vec<Value>,
}

impl Monitor {
    /// # Errors
    ///
    /// There is none, or it is no QEMU's.
    pub(crate) fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).context("QEMU's monitor")?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut this = Self {
            stream: BufReader::new(stream),
            events: Vec::new(),
        };
        let greeting = this.hear()?;
        ensure!(greeting.get("QMP").is_some(), "QEMU's monitor: {greeting}");
        this.execute("qmp_capabilities", &json!({}))?;
        Ok(this)
    }

    /// Has a device taken from the guest, and waits until that has let go of it.
    ///
    /// # Errors
    ///
    /// There is no such device, or the guest keeps it for a minute.
    pub(crate) fn take(&mut self, name: &str) -> Result<()> {
        self.execute("device_del", &json!({ "id": name }))?;
        let is_it =
            |event: &Value| event["event"] == "DEVICE_DELETED" && event["data"]["device"] == name;
        while !self.events.iter().any(is_it) {
            let event = self.hear().with_context(|| format!("taking {name}"))?;
            self.events.push(event);
        }
        Ok(())
    }

    /// Gives the guest a device, as `-device` would.
    ///
    /// # Errors
    ///
    /// QEMU does not want to.
    pub(crate) fn give(&mut self, device: &str) -> Result<()> {
        let command = json!({ "command-line": format!("device_add {device}") });
        let answer = self.execute("human-monitor-command", &command)?;
        ensure!(answer == "", "device_add {device}: {answer}");
        Ok(())
    }

    /// What the command returns.
    fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let line = json!({ "execute": command, "arguments": arguments });
        writeln!(self.stream.get_mut(), "{line}").context("QEMU's monitor")?;
        loop {
            let mut answer = self.hear()?;
            ensure!(answer.get("error").is_none(), "{line}: {answer}");
            match answer.get_mut("return") {
                Some(value) => return Ok(value.take()),
                None => self.events.push(answer),
            }
        }
    }

    fn hear(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.stream.read_line(&mut line).context("QEMU's monitor")?;
        serde_json::from_str(&line).with_context(|| format!("QEMU's monitor: {line:?}"))
    }
}

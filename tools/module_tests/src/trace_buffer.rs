// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A trace buffer of a test's own: `Documentation/trace/ftrace.rst` of Linux, "Instances".

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::verdict::Skip;

const INSTANCES: &str = "/sys/kernel/tracing/instances";

/// The buffer, until this is dropped.
pub struct TraceBuffer(PathBuf);

impl TraceBuffer {
    /// One with the events of a system on. This process has no other.
    ///
    /// # Errors
    ///
    /// [`Skip`] where there are no trace buffers; there are no such events.
    pub fn start(system: &str) -> Result<Self> {
        if !Path::new(INSTANCES).is_dir() {
            return Err(Skip(format!("there is no {INSTANCES}: is tracefs mounted?")).into());
        }
        let name = format!("{system}-{}", std::process::id());
        let buffer = Self(Path::new(INSTANCES).join(name));
        fs::create_dir(&buffer.0).context("a trace buffer")?;
        let switch = buffer.0.join(format!("events/{system}/enable"));
        fs::write(&switch, "1").with_context(|| switch.display().to_string())?;
        Ok(buffer)
    }

    /// What is in it.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn text(&self) -> Result<String> {
        fs::read_to_string(self.0.join("trace")).context("trace")
    }
}

impl Drop for TraceBuffer {
    fn drop(&mut self) {
        // The buffer goes with its directory; one that stays costs memory and breaks nothing.
        let _ = fs::remove_dir(&self.0);
    }
}

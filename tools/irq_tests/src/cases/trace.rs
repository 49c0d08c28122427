// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the tracepoints tell.

use std::fs;
use std::path::PathBuf;

use anyhow::{ensure, Context, Result};

use super::{exits, Skip};
use crate::scene::cpus;

const INSTANCES: &str = "/sys/kernel/tracing/instances";

/// Where the interrupt goes, that runs are direct, and how they end.
pub(super) fn trace() -> Result<()> {
    let trace = Trace::start()?;
    exits("trace", Some(0))?;
    let text = trace.text()?;
    let cpu = cpus()[0];
    let wanted = [
        &format!("exitless_place: gsi=24 vector=0x24 vcpu=0 cpu={cpu} refusal=0"),
        "exitless_mode: vcpu=0 direct=1 possible=1 at_home=1",
        "exitless_exit: vcpu=0 event=none",
    ];
    for words in wanted {
        ensure!(text.contains(words), "no `{words}` in:\n{text}");
    }
    Ok(())
}

/// A trace buffer of our own, with our events on.
struct Trace(PathBuf);

impl Trace {
    fn start() -> Result<Self> {
        let instances = PathBuf::from(INSTANCES);
        if !instances.is_dir() {
            return Err(Skip("there are no trace buffers").into());
        }
        let trace = Self(instances.join("irq_tests"));
        fs::create_dir(&trace.0).context("a trace buffer")?;
        fs::write(trace.0.join("events/exitless/enable"), "1").context("our events")?;
        Ok(trace)
    }

    fn text(&self) -> Result<String> {
        fs::read_to_string(self.0.join("trace")).context("trace")
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // The buffer goes with its directory.
        let _ = fs::remove_dir(&self.0);
    }
}

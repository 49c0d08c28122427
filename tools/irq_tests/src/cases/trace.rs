// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the tracepoints tell.

use anyhow::{ensure, Result};
use module_tests::trace_buffer::TraceBuffer;

use super::exits;
use crate::scene::cpus;

/// Where the interrupt goes, that runs are direct, and how they end.
pub(super) fn trace() -> Result<()> {
    let trace = TraceBuffer::start("exitless")?;
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

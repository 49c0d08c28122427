// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the tracepoints tell.

use std::thread;

use anyhow::{ensure, Result};
use fe_tests::content::{FIRST, READ_ONLY};
use fe_tests::plan;
use module_tests::trace_buffer::TraceBuffer;

use super::open;
use crate::driver::Observation;

/// A read is a notification and a used buffer, and a reset is told of from its beginning to its end.
pub(super) fn run(plan: &plan::Disk) -> Result<()> {
    let disk = open(plan)?;
    let device = disk.device()?;
    let trace = TraceBuffer::start("virtio_fe")?;
    disk.verify(READ_ONLY.start, 8, FIRST)?;
    let observation = Observation::of(&device)?;
    observation.reset()?;
    let of_device = format!("device={device} ");
    let wanted = [
        ("virtio_fe_notify", "queue="),
        ("virtio_fe_used", "count=1"),
        ("virtio_fe_recovery", "step=reset error=0"),
        ("virtio_fe_recovery", "step=working error=0"),
    ];
    for (event, field) in wanted {
        let is_told = |line: &str| [event, &of_device, field].iter().all(|w| line.contains(w));
        // The last one comes some time after the wish for it; a hang is the lab's to end.
        while !trace.text()?.lines().any(is_told) {
            thread::yield_now();
        }
    }
    let is_another = |line: &str| line.contains("virtio_fe_") && !line.contains(&of_device);
    ensure!(
        !trace.text()?.lines().any(is_another),
        "there are events of other devices"
    );
    Ok(())
}

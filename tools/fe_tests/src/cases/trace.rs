// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the tracepoints tell.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{ensure, Context, Result};
use fe_tests::content::{FIRST, READ_ONLY};
use fe_tests::plan;

use super::{open, Skip};
use crate::driver::{tell, Observation};

const INSTANCES: &str = "/sys/kernel/tracing/instances";

/// A read is a notification and a used buffer, and a reset is told of from its beginning to its end.
pub(super) fn run(plan: &plan::Disk) -> Result<()> {
    let disk = open(plan)?;
    let device = disk.device()?;
    let trace = Trace::start()?;
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

/// A trace buffer of our own, with our events on.
struct Trace(PathBuf);

impl Trace {
    fn start() -> Result<Self> {
        if !Path::new(INSTANCES).is_dir() {
            return Err(Skip(format!("there is no {INSTANCES}")).into());
        }
        let trace = Self(Path::new(INSTANCES).join("fe_tests"));
        fs::create_dir(&trace.0).context("a trace buffer")?;
        tell(trace.0.join("events/virtio_fe/enable"), "1")?;
        Ok(trace)
    }

    fn text(&self) -> Result<String> {
        fs::read_to_string(self.0.join("trace")).context("trace")
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // The buffer goes with its directory; one that stays fails the next test.
        let _ = fs::remove_dir(&self.0);
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! When the two processes of a measurement take turns on the CPU, and at what price.
//!
//! With the scheduler's defaults both depend on its state of the moment. Measurements then fall
//! into one of several patterns, 3 to 8 % apart, and anything that shifts the run by a few
//! instructions can change which. So one pattern is chosen, and it is one of the defaults' own:
//!
//! - `SCHED_BATCH`: a wake-up never preempts who runs, so the CPU goes to the other process
//!   only when one sleeps or yields.
//! - `NO_DELAY_DEQUEUE`: a process that sleeps leaves the run queue at once, also when it has
//!   had more than its share.

use std::fs;
use std::io;

use anyhow::{Context, Result};

const FEATURES: &str = "/sys/kernel/debug/sched/features";
const FEATURE: &str = "DELAY_DEQUEUE";

/// The pattern is in force for this process and those that it starts.
pub(crate) struct Scheduling {
    delayed_before: bool,
}

impl Scheduling {
    /// Chooses the pattern.
    ///
    /// # Errors
    ///
    /// debugfs is not mounted, or the kernel refuses.
    pub(crate) fn fix() -> Result<Self> {
        let parameters = libc::sched_param { sched_priority: 0 };
        // SAFETY: the call reads `parameters`; 0 is the calling process.
        if unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) } != 0 {
            return Err(io::Error::last_os_error()).context("SCHED_BATCH");
        }
        let features = fs::read_to_string(FEATURES).context(FEATURES)?;
        let delayed_before = features.split_whitespace().any(|name| name == FEATURE);
        write(&format!("NO_{FEATURE}"))?;
        Ok(Self { delayed_before })
    }

    /// Leaves the kernel as it was found.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub(crate) fn restore(self) -> Result<()> {
        if self.delayed_before {
            write(FEATURE)?;
        }
        Ok(())
    }
}

fn write(feature: &str) -> Result<()> {
    fs::write(FEATURES, feature).with_context(|| format!("{feature} to {FEATURES}"))
}

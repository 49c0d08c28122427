// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! When the two processes of a measurement take turns on the CPU.

use std::io;

use anyhow::{Context, Result};

/// Makes this process, and those that it starts, `SCHED_BATCH`: a wake-up never preempts who
/// runs, so the CPU goes to the other process only when one sleeps or yields.
///
/// With `SCHED_OTHER` a wake-up preempts or not depending on the scheduler's state of the
/// moment. Measurements then fall into one of several patterns, 8 % apart, which anything
/// that shifts the run by a few instructions can change.
///
/// # Errors
///
/// The kernel refuses.
pub(crate) fn switch_only_when_one_sleeps() -> Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the call reads `parameters`; 0 is the calling process.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()).context("SCHED_BATCH"),
    }
}

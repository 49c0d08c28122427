// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Precedence over other threads on the same CPU: sched(7).

use std::io;

/// Runs whenever it has something to do, unless one of a higher `priority` has (`SCHED_FIFO`).
///
/// # Errors
///
/// Those of sched_setscheduler(2).
pub fn give(process: u32, priority: i32) -> io::Result<()> {
    let parameters = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: It reads the parameters.
    let result = unsafe {
        libc::sched_setscheduler(process as i32, libc::SCHED_FIFO, &raw const parameters)
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Knowing that another thread sleeps in `KVM_RUN`.

use std::fs;
use std::thread;

use anyhow::{Context, Result};

/// What /proc shows of a thread asleep in `ioctl(fd, KVM_RUN, 0)`, after the descriptor.
const IOCTL: &str = "16";
const KVM_RUN: &str = "0xae80";

/// The calling thread's id.
pub(crate) fn this_thread() -> libc::pid_t {
    // SAFETY: gettid has no arguments and cannot fail.
    unsafe { libc::gettid() }
}

/// Returns when the thread is blocked in `KVM_RUN`: the kernel itself says so.
pub(crate) fn wait_in_kvm_run(thread: libc::pid_t) -> Result<()> {
    let path = format!("/proc/self/task/{thread}/syscall");
    loop {
        let line = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let mut words = line.split_whitespace();
        if words.next() == Some(IOCTL) && words.nth(1) == Some(KVM_RUN) {
            return Ok(());
        }
        thread::yield_now();
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Which CPUs measurements run on.

use std::fs;

use anyhow::{Context, Result};
use rustix::thread::{sched_getaffinity, sched_setaffinity, CpuSet};

/// Those that this thread may run on.
///
/// # Errors
///
/// The kernel does not say.
pub(crate) fn allowed() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None).context("which CPUs there are")?;
    let numbers = 0..CpuSet::MAX_CPU;
    Ok(numbers.filter(|&cpu| set.is_set(cpu)).collect())
}

/// The first one, and one that is another core, if there is one.
pub(crate) fn two_cores(allowed: &[usize]) -> Option<[usize; 2]> {
    let (&first, others) = allowed.split_first()?;
    let core = threads_of_core(first);
    let other = others.iter().find(|&&cpu| threads_of_core(cpu) != core);
    other.map(|&other| [first, other])
}

/// The CPUs that are threads of the same core, as the kernel lists them; or else only itself.
fn threads_of_core(cpu: usize) -> String {
    let list = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    let siblings = fs::read_to_string(list);
    siblings.map_or_else(|_| cpu.to_string(), |list| list.trim().to_owned())
}

/// Lets this thread run nowhere else.
///
/// # Errors
///
/// It may not run there.
pub(crate) fn stay_on(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).with_context(|| format!("CPU {cpu}"))
}

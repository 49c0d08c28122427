// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Threads: where they run, and knowing that one sleeps in the module.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::thread;

use anyhow::{ensure, Context, Result};
use rustix::thread::{sched_getaffinity, sched_setaffinity, CpuSet};

/// The calling thread's id.
pub(crate) fn this_thread() -> libc::pid_t {
    // SAFETY: gettid has no arguments and cannot fail.
    unsafe { libc::gettid() }
}

/// Keeps this thread, and those that it starts, on one CPU. For tests of many round trips: on an
/// emulated machine, waking a thread on another CPU takes a thousand times as long.
pub(crate) fn stay_on_one_cpu() -> Result<()> {
    let all = sched_getaffinity(None).context("which CPUs there are")?;
    let mut numbers = 0..CpuSet::MAX_CPU;
    let first = numbers.find(|&cpu| all.is_set(cpu)).context("no CPU")?;
    let mut one = CpuSet::new();
    one.set(first);
    sched_setaffinity(None, &one).with_context(|| format!("CPU {first}"))
}

/// Keeps SIGPIPE from the calling thread, for a device that writes to KVM's end after it is gone.
pub(crate) fn spare_from_sigpipe() -> Result<()> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set that the other calls use.
    let errno = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut())
    };
    ensure!(
        errno == 0,
        "pthread_sigmask: {}",
        io::Error::from_raw_os_error(errno)
    );
    Ok(())
}

/// Gives SIGUSR2 a handler that does nothing, with `SA_RESTART`: what ends with EINTR
/// nevertheless is not restarted by the kernel.
pub(crate) fn handle_sigusr2() -> Result<()> {
    extern "C" fn handler(_: libc::c_int) {}
    // SAFETY: sigaction is plain data, for which all bytes zero is a value; the handler does
    // nothing.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGUSR2, &raw const action, ptr::null_mut())
    };
    ensure!(result == 0, "sigaction: {}", io::Error::last_os_error());
    Ok(())
}

/// Sends SIGUSR2, which has its handler, to a thread.
pub(crate) fn send_sigusr2(thread: libc::pid_t) {
    // SAFETY: tgkill takes integers.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGUSR2) };
}

/// Returns when the thread sleeps in a wait of the module: a vCPU for its device, or a device in
/// its channel. What such a function waits with starts with `shunt_`; a thread that is just being
/// woken up, or sleeps for a lock, is at no such place.
pub(crate) fn wait_until_asleep(thread: libc::pid_t) -> Result<()> {
    let path = format!("/proc/self/task/{thread}/wchan");
    loop {
        let place = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        if place.starts_with("shunt_") {
            return Ok(());
        }
        thread::yield_now();
    }
}

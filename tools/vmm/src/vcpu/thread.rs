// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A thread for a vCPU, and the kick that gets it out of `KVM_RUN`.
//!
//! A kick is a signal. Its handler, on the vCPU's own thread, sets `kvm_run.immediate_exit`.
//! So it does not matter when it comes: a thread inside `KVM_RUN` returns because of the signal,
//! one that is about to enter finds the flag, and one that has not come that far looks at the
//! stop switch first, which is set before the kick.

use std::{
    cell::Cell,
    marker::PhantomData,
    ptr,
    sync::Arc,
    thread::{self, JoinHandle},
};

use anyhow::{anyhow, Context, Result};
use kvm_ioctls::VcpuFd;
use rustix::thread::{sched_setaffinity, CpuSet};
use vmm_sys_util::signal::{register_signal_handler, Killable, SIGRTMIN};

use super::{exits, Shared};
use crate::{
    report::ExitCounters,
    stop::{Outcome, StopOnPanic},
};

thread_local! {
    /// `kvm_run.immediate_exit` of the vCPU that this thread runs, else null. Without a
    /// destructor and initialised at compile time, so that a signal handler may use it.
    static IMMEDIATE_EXIT: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
}

extern "C" fn on_kick(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let flag = IMMEDIATE_EXIT.get();
    if !flag.is_null() {
        // SAFETY: `Kickable` set it on this thread and resets it before the vCPU goes.
        unsafe { flag.write_volatile(1) };
    }
}

/// Installs the handler of the signal that [`VcpuThread::kick`] sends.
///
/// # Errors
///
/// When the kernel refuses it.
pub(crate) fn install_kick_handler() -> Result<()> {
    register_signal_handler(SIGRTMIN(), on_kick).context("cannot install the kick signal")
}

/// While this lives, a kick of this thread stops its vCPU.
struct Kickable {
    /// The flag belongs to this thread.
    _not_send: PhantomData<*mut u8>,
}

impl Kickable {
    /// The caller drops it before `vcpu`.
    fn new(vcpu: &mut VcpuFd) -> Self {
        IMMEDIATE_EXIT.set(&mut vcpu.get_kvm_run().immediate_exit);
        Self {
            _not_send: PhantomData,
        }
    }
}

impl Drop for Kickable {
    fn drop(&mut self) {
        IMMEDIATE_EXIT.set(ptr::null_mut());
    }
}

/// This thread runs on one CPU from now on.
fn pin(cpu: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus).with_context(|| format!("cannot run on CPU {cpu}"))
}

/// A running vCPU.
pub(crate) struct VcpuThread(JoinHandle<()>);

impl VcpuThread {
    /// Runs `vcpu` on a thread of its own until the machine stops; counts its exits. If a `cpu` is
    /// named, it runs there and nowhere else.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub(crate) fn spawn(
        id: u8,
        mut vcpu: VcpuFd,
        cpu: Option<usize>,
        shared: Shared,
        counters: Arc<ExitCounters>,
    ) -> Result<Self> {
        let thread = thread::Builder::new()
            .name(format!("vcpu{id}"))
            .spawn(move || {
                let _guard = StopOnPanic(&shared.stop);
                let _kickable = Kickable::new(&mut vcpu);
                let pinned = cpu.map_or(Ok(()), pin);
                let ran = pinned.and_then(|()| exits::run(&mut vcpu, &shared, &counters));
                if let Err(error) = ran {
                    let error = error.context(format!("vCPU {id}"));
                    shared.stop.request(Outcome::Failed(error));
                }
            })
            .with_context(|| format!("cannot start the thread of vCPU {id}"))?;
        Ok(Self(thread))
    }

    /// Makes the vCPU look at the stop switch.
    ///
    /// # Errors
    ///
    /// When the signal cannot be sent.
    pub(crate) fn kick(&self) -> Result<()> {
        self.0.kill(SIGRTMIN()).context("cannot kick a vCPU thread")
    }

    /// Waits for the thread.
    ///
    /// # Errors
    ///
    /// When the thread panicked.
    pub(crate) fn join(self) -> Result<()> {
        self.0.join().map_err(|_| anyhow!("a vCPU thread panicked"))
    }
}

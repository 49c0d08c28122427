// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Bringing a vCPU out of `KVM_RUN`, without a race.
//!
//! The vCPU's thread blocks [`SIGNAL`], and `KVM_SET_SIGNAL_MASK` lets it through during
//! `KVM_RUN` only. So a signal that comes at any moment ends the current or the next
//! `KVM_RUN` with EINTR; [`consume`] then takes it off the queue. No handler runs.

use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::ptr;
use std::time::Duration;

use libc::{c_int, pid_t, sigset_t, timer_t};

use crate::{Error, Result, Vcpu};

const SIGNAL: c_int = libc::SIGUSR1;

/// Bytes of the kernel's own `sigset_t`.
const KERNEL_SIGSET_SIZE: u32 = 8;
/// `_IOW(KVMIO, 0x8b, struct kvm_signal_mask)`; the size counts the length field only.
const KVM_SET_SIGNAL_MASK: libc::Ioctl = 0x4004_ae8b;

/// `struct kvm_signal_mask` with a kernel `sigset_t` behind it.
#[repr(C, packed)]
struct SignalMask {
    len: u32,
    blocked: u64,
}

/// Interrupts one vCPU's thread. Can be sent to other threads.
#[derive(Clone, Copy, Debug)]
pub struct Kicker {
    thread: pid_t,
}

impl Kicker {
    /// For the calling thread, in which `vcpu` is going to run.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] when the signal masks cannot be set.
    pub fn for_this_thread(vcpu: &Vcpu) -> Result<Self> {
        block_signal()?;
        let mask = SignalMask {
            len: KERNEL_SIGSET_SIZE,
            blocked: 0,
        };
        // SAFETY: the ioctl reads `mask`, len and 8 bytes of signal set, and keeps no pointer.
        if unsafe { libc::ioctl(vcpu.as_raw_fd(), KVM_SET_SIGNAL_MASK, &raw const mask) } < 0 {
            return Err(Error::last("KVM_SET_SIGNAL_MASK"));
        }
        // SAFETY: gettid has no arguments and cannot fail.
        let thread = unsafe { libc::gettid() };
        Ok(Self { thread })
    }

    /// Makes the thread's current `KVM_RUN`, or else its next, return EINTR.
    pub fn kick(&self) {
        // SAFETY: tgkill takes integers. The signal is blocked in that thread, so it can only
        // end a KVM_RUN; should the thread have ended, the call does nothing.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), self.thread, SIGNAL) };
    }
}

/// A timer that kicks the calling thread over and over, until it is dropped.
#[derive(Debug)]
pub struct Storm(timer_t);

impl Storm {
    /// Starts kicking the thread of `kicker` every `interval`.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] when the timer cannot be made.
    pub fn start(kicker: Kicker, interval: Duration) -> Result<Self> {
        // SAFETY: sigevent is plain data, for which all bytes zero is a value.
        let mut event: libc::sigevent = unsafe { MaybeUninit::zeroed().assume_init() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = SIGNAL;
        event.sigev_notify_thread_id = kicker.thread;
        let mut timer: timer_t = ptr::null_mut();
        // SAFETY: both pointers are to live variables of the right type.
        if unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) } < 0
        {
            return Err(Error::last("timer_create"));
        }
        let storm = Self(timer);
        let interval = libc::timespec {
            tv_sec: interval.as_secs() as libc::time_t,
            tv_nsec: interval.subsec_nanos().into(),
        };
        let spec = libc::itimerspec {
            it_interval: interval,
            it_value: interval,
        };
        // SAFETY: the timer exists, `spec` is read only, the old value is not asked for.
        if unsafe { libc::timer_settime(storm.0, 0, &raw const spec, ptr::null_mut()) } < 0 {
            return Err(Error::last("timer_settime"));
        }
        Ok(storm)
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        // SAFETY: the timer was made by timer_create and is deleted once.
        unsafe { libc::timer_delete(self.0) };
    }
}

// SAFETY: a timer_t is a number to the kernel; any thread of the process may use it.
unsafe impl Send for Storm {}

/// Takes a kick that has done its work off the queue of the calling thread.
pub(crate) fn consume() {
    let set = signal_set();
    let now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: both pointers are to live variables; no siginfo is asked for. When no kick is
    // pending (the interruption came from elsewhere) it returns at once.
    unsafe { libc::sigtimedwait(&raw const set, ptr::null_mut(), &raw const now) };
}

fn block_signal() -> Result<()> {
    let set = signal_set();
    // SAFETY: the set is initialised; the old mask is not asked for.
    let errno = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) };
    if errno != 0 {
        let source = std::io::Error::from_raw_os_error(errno);
        return Err(Error::Call {
            call: "pthread_sigmask",
            source,
        });
    }
    Ok(())
}

fn signal_set() -> sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set; both calls fail only for bad signal numbers.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), SIGNAL);
        set.assume_init()
    }
}

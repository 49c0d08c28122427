// SPDX-License-Identifier: GPL-2.0-only

//! A vCPU that may run directly.

use crate::{
    attachment::{
        Attachment,
        Session, //
    },
    ffi,
    watchdog::Watchdog, //
};
use core::{
    cell::UnsafeCell,
    ptr::NonNull, //
};
use exitless_vectors::{
    runs::{
        Event,
        Exit,
        Verdict, //
    },
    vectors::VectorSet, //
};
use kernel::{
    error::to_result,
    ffi::c_void,
    prelude::*,
    sync::Arc, //
};

/// What a module keeps of a vCPU.
pub trait Vcpu: Send + Sync + 'static {
    /// State that only the vCPU's own runs use.
    type Runs: Default + Send;

    /// The vCPU is about to run, with interrupts off. Returns what `kvm_exitless_ops.enter` does.
    fn enter(&self, runs: &mut Self::Runs, possible: bool) -> u32;

    /// A direct run has ended; interrupts are off.
    fn exit(&self, runs: &mut Self::Runs, exit: &Exit) -> Verdict;
}

/// The data of the callbacks. KVM does not call two of one vCPU at a time.
struct Data<V: Vcpu> {
    vcpu: Arc<V>,
    watchdog: Option<Watchdog>,
    runs: UnsafeCell<V::Runs>,
}

/// The vCPU is armed as long as this lives.
///
/// # Invariants
///
/// The vCPU is armed with `data`, which came from a `KBox`.
pub struct Armed<S: Session> {
    attachment: Arc<Attachment<S>>,
    index: u32,
    data: NonNull<Data<S::Vcpu>>,
}

// SAFETY: Any thread may disarm a vCPU and drop what was its data.
unsafe impl<S: Session> Send for Armed<S> {}

// SAFETY: There is nothing to do with a shared one.
unsafe impl<S: Session> Sync for Armed<S> {}

impl<S: Session> Armed<S> {
    /// Lets a vCPU run directly on one CPU; `watched`, if another CPU is to end runs in which the
    /// guest keeps interrupts off.
    ///
    /// # Errors
    ///
    /// - `EBUSY`: another vCPU has the CPU, or it watches another one.
    /// - `ENODEV`: there is no CPU to watch it.
    /// - `EINVAL`: there is no such vCPU or CPU, or the vCPU is armed.
    /// - `ENOMEM`.
    pub fn new(
        attachment: &Arc<Attachment<S>>,
        index: u32,
        cpu: u32,
        vcpu: Arc<S::Vcpu>,
        watched: bool,
    ) -> Result<Self> {
        let watchdog = match watched {
            true => Some(Watchdog::new(cpu)?),
            false => None,
        };
        let data = Data {
            vcpu,
            watchdog,
            runs: UnsafeCell::default(),
        };
        let data = NonNull::from(KBox::leak(KBox::new(data, GFP_KERNEL_ACCOUNT)?));
        let (kvm, pointer) = (attachment.kvm(), data.as_ptr().cast());
        // SAFETY: The VM is attached; the data stay valid until `drop` has disarmed the vCPU.
        let error = unsafe { ffi::kvm_exitless_arm(kvm, index, cpu as i32, pointer) };
        to_result(error).inspect_err(|_| {
            // SAFETY: It is from the box above, and KVM does not know it.
            drop(unsafe { KBox::from_raw(data.as_ptr()) })
        })?;
        // INVARIANT: Just armed with it.
        Ok(Self {
            attachment: attachment.clone(),
            index,
            data,
        })
    }
}

impl<S: Session> Drop for Armed<S> {
    fn drop(&mut self) {
        // SAFETY: It is armed by the type invariant.
        unsafe { ffi::kvm_exitless_disarm(self.attachment.kvm(), self.index) };
        // SAFETY: It came from a box, by the type invariant, and KVM no longer uses it.
        drop(unsafe { KBox::from_raw(self.data.as_ptr()) });
    }
}

/// # Safety
///
/// As `kvm_exitless_ops.enter`; only KVM calls it, with the data of an [`Armed`].
pub(crate) unsafe extern "C" fn enter<V: Vcpu>(data: *mut c_void, possible: bool) -> u32 {
    // SAFETY: The data are valid while the vCPU is armed.
    let data = unsafe { &*data.cast::<Data<V>>() };
    // SAFETY: KVM makes one call of a vCPU at a time, so this is the only reference.
    let answer = data.vcpu.enter(unsafe { &mut *data.runs.get() }, possible);
    if let Some(watchdog) = data.watchdog.as_ref().filter(|_| answer != 0) {
        watchdog.note();
    }
    answer
}

/// # Safety
///
/// As `kvm_exitless_ops.exit`; only KVM calls it, with the data of an [`Armed`].
pub(crate) unsafe extern "C" fn exit<V: Vcpu>(
    data: *mut c_void,
    exit: *const ffi::KvmExitlessExit,
    verdict: *mut ffi::KvmExitlessVerdict,
) {
    // SAFETY: The data are valid while the vCPU is armed.
    let data = unsafe { &*data.cast::<Data<V>>() };
    if let Some(watchdog) = &data.watchdog {
        watchdog.note();
    }
    // SAFETY: It is valid during this call.
    let exit = parse(unsafe { &*exit });
    // SAFETY: KVM makes one call of a vCPU at a time, so this is the only reference.
    let ours = data.vcpu.exit(unsafe { &mut *data.runs.get() }, &exit);
    let answer = ffi::KvmExitlessVerdict {
        host: ours.host,
        pending: ours.pending.bits(),
        in_service: ours.in_service.bits(),
    };
    // SAFETY: It can be written during this call.
    unsafe { verdict.write(answer) };
}

fn parse(exit: &ffi::KvmExitlessExit) -> Exit {
    Exit {
        event: match exit.event {
            ffi::NONE => Event::None,
            ffi::INTERRUPT => Event::Interrupt(exit.vector),
            ffi::SOFTWARE => Event::Software,
            _ => Event::Other,
        },
        fault: exit.fault,
        nmi: exit.nmi,
        in_service: VectorSet::from_bits(exit.in_service),
    }
}

// SPDX-License-Identifier: GPL-2.0-only

//! A vCPU that may run directly.

use crate::{
    attachment::{
        Attachment,
        Session, //
    },
    ffi,
    trace,
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
    cpu::CpuId,
    error::to_result,
    ffi::c_void,
    prelude::*,
    sync::Arc, //
};

/// What a module says when a vCPU is about to run.
pub struct Entrance {
    /// As `kvm_exitless_ops.enter` returns it.
    pub answer: u32,
    /// Have [`Session::look_again`] called: the vCPU should not be armed, or not there.
    pub look_again: bool,
}

/// What a module keeps of a vCPU.
pub trait Vcpu: Send + Sync + 'static {
    /// State that only the vCPU's own runs use.
    type Runs: Default + Send;

    /// The vCPU is about to run, with interrupts off; on the CPU that it is armed on, if `at_home`.
    fn enter(&self, runs: &mut Self::Runs, possible: bool, at_home: bool) -> Entrance;

    /// A direct run has ended; interrupts are off. It was `overlong` if the processor or the watchdog
    /// ended it and the guest had its interrupts off.
    fn exit(&self, runs: &mut Self::Runs, exit: &Exit, overlong: bool) -> Verdict;
}

/// What only the vCPU's own runs use.
struct Own<R> {
    runs: R,
    is_direct: bool,
}

/// The data of the callbacks. KVM does not call two of one vCPU at a time.
struct Data<S: Session> {
    vcpu: Arc<S::Vcpu>,
    index: u32,
    cpu: u32,
    attachment: Arc<Attachment<S>>,
    watchdog: Option<Watchdog>,
    own: UnsafeCell<Own<<S::Vcpu as Vcpu>::Runs>>,
}

/// The vCPU is armed as long as this lives.
///
/// # Invariants
///
/// The vCPU is armed with `data`, which came from a `KBox`.
pub struct Armed<S: Session> {
    data: NonNull<Data<S>>,
}

// SAFETY: Any thread may disarm a vCPU and drop what was its data.
unsafe impl<S: Session> Send for Armed<S> {}

// SAFETY: There is nothing to do with a shared one.
unsafe impl<S: Session> Sync for Armed<S> {}

impl<S: Session> Armed<S> {
    /// Lets a vCPU run directly on one CPU; `watched`, if another CPU is to end runs in which the
    /// guest keeps interrupts off where the processor does not.
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
        // SAFETY: There is nothing to be sure of.
        let is_timed = unsafe { ffi::kvm_exitless_is_timed() };
        let watchdog = match watched && !is_timed {
            true => Some(Watchdog::new(cpu)?),
            false => None,
        };
        let data = Data {
            vcpu,
            index,
            cpu,
            attachment: attachment.clone(),
            watchdog,
            own: UnsafeCell::new(Own {
                runs: Default::default(),
                is_direct: false,
            }),
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
        Ok(Self { data })
    }
}

impl<S: Session> Drop for Armed<S> {
    fn drop(&mut self) {
        // SAFETY: It is valid by the type invariant.
        let (kvm, index) = unsafe {
            let data = self.data.as_ref();
            (data.attachment.kvm(), data.index)
        };
        // SAFETY: It is armed by the type invariant.
        unsafe { ffi::kvm_exitless_disarm(kvm, index) };
        // SAFETY: It came from a box, by the type invariant, and KVM no longer uses it.
        drop(unsafe { KBox::from_raw(self.data.as_ptr()) });
    }
}

/// # Safety
///
/// As `kvm_exitless_ops.enter`; only KVM calls it, with the data of an [`Armed`].
pub(crate) unsafe extern "C" fn enter<S: Session>(data: *mut c_void, possible: bool) -> u32 {
    // SAFETY: The data are valid while the vCPU is armed.
    let data = unsafe { &*data.cast::<Data<S>>() };
    // SAFETY: KVM makes one call of a vCPU at a time, so this is the only reference.
    let own = unsafe { &mut *data.own.get() };
    let at_home = CpuId::current().as_u32() == data.cpu;
    let entrance = data.vcpu.enter(&mut own.runs, possible, at_home);
    let is_direct = entrance.answer != 0;
    if is_direct != own.is_direct {
        own.is_direct = is_direct;
        trace::mode(data.index, is_direct, possible, at_home);
    }
    if let Some(watchdog) = data.watchdog.as_ref().filter(|_| is_direct) {
        watchdog.note();
    }
    if entrance.look_again {
        S::look_again(data.attachment.session());
    }
    entrance.answer
}

/// # Safety
///
/// As `kvm_exitless_ops.exit`; only KVM calls it, with the data of an [`Armed`].
pub(crate) unsafe extern "C" fn exit<S: Session>(
    data: *mut c_void,
    exit: *const ffi::KvmExitlessExit,
    verdict: *mut ffi::KvmExitlessVerdict,
) {
    // SAFETY: The data are valid while the vCPU is armed.
    let data = unsafe { &*data.cast::<Data<S>>() };
    // SAFETY: It is valid during this call.
    let exit = unsafe { &*exit };
    // Asked at any exit, so that an NMI that came too late does not count at a later one.
    let was_struck = data.watchdog.as_ref().is_some_and(|watchdog| {
        watchdog.note();
        watchdog.has_struck()
    });
    // SAFETY: KVM makes one call of a vCPU at a time, so this is the only reference.
    let own = unsafe { &mut *data.own.get() };
    let was_ended = exit.expired || (was_struck && exit.nmi);
    let overlong = was_ended && exit.masked;
    let ours = data.vcpu.exit(&mut own.runs, &parse(exit), overlong);
    let answer = ffi::KvmExitlessVerdict {
        host: ours.host,
        pending: ours.pending.bits(),
        in_service: ours.in_service.bits(),
    };
    trace::exit(data.index, exit, &answer, overlong);
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

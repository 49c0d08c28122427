// SPDX-License-Identifier: GPL-2.0-only

//! A VM that a module decides for.

use crate::{
    armed::{
        self,
        Vcpu, //
    },
    consumer::{
        Consumer,
        Device, //
    },
    ffi,
};
use core::{
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    },
};
use exitless_vectors::refusal::Refusal;
use kernel::{
    error::to_result,
    ffi::c_void,
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    },
};

/// What a module keeps of a VM.
pub trait Session: Send + Sync + 'static {
    /// What it keeps of a vCPU.
    type Vcpu: Vcpu;

    /// The VM's interrupt routes have changed. May sleep; must not end the attachment.
    fn routes_changed(this: ArcBorrow<'_, Self>);

    /// A vCPU has asked for it, see [`crate::Entrance`]. Called with interrupts off.
    fn look_again(this: ArcBorrow<'_, Self>);
}

/// Where an interrupt goes in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Index of the vCPU.
    pub vcpu: u32,
    /// The guest's vector.
    pub vector: u8,
}

/// The module decides for a VM as long as this or an [`crate::Armed`] of it lives.
///
/// # Invariants
///
/// `kvm` is attached, with a reference of ours and with `session`, a reference of ours, as data.
pub struct Attachment<S: Session> {
    kvm: NonNull<ffi::Kvm>,
    session: *const S,
    _session: PhantomData<Arc<S>>,
}

// SAFETY: Any thread may use a VM, and `Session`s are shared.
unsafe impl<S: Session> Send for Attachment<S> {}

// SAFETY: As above; KVM locks itself.
unsafe impl<S: Session> Sync for Attachment<S> {}

impl<S: Session> Attachment<S> {
    const OPS: ffi::KvmExitlessOps = ffi::KvmExitlessOps {
        routes_changed: routes_changed::<S>,
        enter: armed::enter::<S>,
        exit: armed::exit::<S>,
    };

    /// Attaches the VM of a descriptor.
    ///
    /// # Errors
    ///
    /// - `EBADF`: it is not a VM's.
    /// - `EBUSY`: the VM is attached.
    /// - `ENOMEM`.
    pub fn new(vm_fd: i32, session: Arc<S>) -> Result<Arc<Self>> {
        let session = Arc::into_raw(session);
        let mut kvm = ptr::null_mut();
        // SAFETY: The operations are static and keep the contract of `struct kvm_exitless_ops`;
        // the session stays valid until `drop` has detached the VM.
        let error = unsafe {
            ffi::kvm_exitless_attach(vm_fd, &Self::OPS, session.cast_mut().cast(), &raw mut kvm)
        };
        let kvm = to_result(error).and_then(|()| NonNull::new(kvm).ok_or(EBADF));
        let kvm = kvm.inspect_err(|_| {
            // SAFETY: It came from `into_raw`, and KVM does not know it.
            drop(unsafe { Arc::from_raw(session) })
        })?;
        // INVARIANT: Just attached, with a reference and this session.
        let attachment = Self {
            kvm,
            session,
            _session: PhantomData,
        };
        Ok(Arc::new(attachment, GFP_KERNEL_ACCOUNT)?)
    }

    /// The GSI that the eventfd of a consumer raises. `None` if no irqfd of the VM has it.
    pub fn gsi<D: Device>(&self, consumer: &Consumer<D>) -> Option<u32> {
        // SAFETY: The VM is valid by the type invariant, and so is the consumer.
        let gsi = unsafe { ffi::shunt_consumer_gsi(consumer.as_raw(), self.kvm.as_ptr()) };
        u32::try_from(gsi).ok()
    }

    /// Where a GSI goes. `None` if it is no edge-triggered MSI to exactly one vCPU.
    pub fn route(&self, gsi: u32) -> Option<Destination> {
        let mut vector = 0;
        // SAFETY: The VM is valid by the type invariant, and the vector can be written.
        let index = unsafe { ffi::kvm_exitless_route(self.kvm.as_ptr(), gsi, &raw mut vector) };
        let vcpu = u32::try_from(index).ok()?;
        Some(Destination { vcpu, vector })
    }

    /// The CPU on which a vCPU could run directly.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    pub fn place(&self, vcpu: u32) -> Result<u32, Refusal> {
        let mut cpu = -1;
        // SAFETY: The VM is valid by the type invariant, and the CPU can be written.
        let obstacle = unsafe { ffi::kvm_exitless_obstacle(self.kvm.as_ptr(), vcpu, &raw mut cpu) };
        match Refusal::from_obstacle(obstacle as u32) {
            None => u32::try_from(cpu).map_err(|_| Refusal::NotPinned),
            Some(refusal) => Err(refusal),
        }
    }

    /// Waits for the end of all direct runs of now. Sleeps.
    pub fn settle(&self) {
        // SAFETY: The VM is valid by the type invariant.
        unsafe { ffi::kvm_exitless_settle(self.kvm.as_ptr()) }
    }

    pub(crate) fn session(&self) -> ArcBorrow<'_, S> {
        // SAFETY: It came from `into_raw`, and the reference is ours, by the type invariant.
        unsafe { ArcBorrow::from_raw(self.session) }
    }

    pub(crate) fn kvm(&self) -> *mut ffi::Kvm {
        self.kvm.as_ptr()
    }
}

impl<S: Session> Drop for Attachment<S> {
    fn drop(&mut self) {
        // SAFETY: It is attached, and the reference ours, by the type invariant. No vCPU is armed:
        // each `Armed` has a reference to this.
        unsafe { ffi::kvm_exitless_detach(self.kvm.as_ptr()) };
        // SAFETY: The reference is ours by the type invariant, and KVM has forgotten it.
        drop(unsafe { Arc::from_raw(self.session) });
    }
}

/// # Safety
///
/// As `kvm_exitless_ops.routes_changed`; only KVM calls it, with the data of an [`Attachment`].
unsafe extern "C" fn routes_changed<S: Session>(session: *mut c_void) {
    // SAFETY: The attachment has a reference until KVM has forgotten the session.
    S::routes_changed(unsafe { ArcBorrow::from_raw(session.cast::<S>()) });
}

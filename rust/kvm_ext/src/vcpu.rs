// SPDX-License-Identifier: GPL-2.0-only

//! What is kept with a vCPU.

use crate::ffi;
use kernel::{
    ffi::c_void,
    prelude::*, //
};

/// An extension's state of a vCPU, and what every call for it needs of KVM's structures: those are
/// for C to look into, and this is one look instead of several.
///
/// # Invariants
///
/// `kvm`, `vm_data` and `index` are those of the vCPU whose data this is. They never change.
pub(crate) struct VcpuData<S> {
    pub(crate) kvm: *mut ffi::Kvm,
    pub(crate) vm_data: *mut c_void,
    pub(crate) index: u32,
    pub(crate) state: S,
}

impl<S: Default> VcpuData<S> {
    /// The data of a vCPU, made when it is first asked for.
    ///
    /// # Safety
    ///
    /// The vCPU must be valid, its VM attached to an extension with this state, and its mutex held
    /// during `'a`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    #[inline]
    pub(crate) unsafe fn of<'a>(vcpu: *mut ffi::KvmVcpu) -> Result<&'a mut Self> {
        // SAFETY: The vCPU is valid.
        let mut data: *mut Self = unsafe { ffi::shunt_vcpu_data(vcpu) }.cast();
        if data.is_null() {
            // SAFETY: As required here.
            data = unsafe { Self::make(vcpu)? };
        }
        // SAFETY: It came from `make`; the mutex makes this the only reference, and `free` comes
        // after the last call with the mutex held.
        Ok(unsafe { &mut *data })
    }

    /// # Safety
    ///
    /// As [`Self::of`].
    #[cold]
    unsafe fn make(vcpu: *mut ffi::KvmVcpu) -> Result<*mut Self> {
        // SAFETY: The vCPU is valid.
        let view = unsafe { ffi::shunt_vcpu(vcpu) };
        // INVARIANT: That is where they are from. A VM is attached once, and to the end.
        let data = Self {
            kvm: view.kvm,
            vm_data: view.vm_data,
            index: view.index,
            state: S::default(),
        };
        let data = KBox::into_raw(KBox::new(data, GFP_KERNEL_ACCOUNT)?);
        // SAFETY: The vCPU is valid, and its mutex keeps others away.
        unsafe { ffi::shunt_set_vcpu_data(vcpu, data.cast()) };
        Ok(data)
    }

    /// Frees the data of a vCPU.
    ///
    /// # Safety
    ///
    /// It must have some, which nobody uses any more.
    pub(crate) unsafe fn free(vcpu: *mut ffi::KvmVcpu) {
        // SAFETY: `make` stored it, and this is its only user, by the safety requirement.
        drop(unsafe { KBox::from_raw(ffi::shunt_vcpu_data(vcpu).cast::<Self>()) });
    }
}

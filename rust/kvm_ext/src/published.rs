// SPDX-License-Identifier: GPL-2.0-only

//! A value that vCPUs read without a lock.
//!
//! KVM calls `try_io` with `kvm->srcu` held for reading. A value that is replaced is freed after
//! a grace period, so whoever reads it there needs neither a lock nor a reference count.

use crate::ffi;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full, //
        },
        Arc, //
    },
};

/// A VM, during a call for it. The caller may sleep, and does not hold `kvm->srcu`.
///
/// # Invariants
///
/// The VM is valid during `'a`.
pub struct Kvm<'a> {
    kvm: NonNull<ffi::Kvm>,
    _call: PhantomData<&'a ()>,
}

impl Kvm<'_> {
    /// # Safety
    ///
    /// `kvm` must be valid during the lifetime that the caller chooses; the thread does not hold
    /// its `srcu`.
    pub(crate) unsafe fn new(kvm: NonNull<ffi::Kvm>) -> Self {
        // INVARIANT: By the safety requirement.
        Self {
            kvm,
            _call: PhantomData,
        }
    }
}

/// Proof that `kvm->srcu` of a VM is held for reading.
///
/// # Invariants
///
/// It is, during `'a`.
pub struct ReadSide<'a> {
    kvm: *mut ffi::Kvm,
    _call: PhantomData<&'a ()>,
}

impl ReadSide<'_> {
    /// # Safety
    ///
    /// The thread must hold `srcu` of `kvm` for the lifetime that the caller chooses.
    pub(crate) unsafe fn new(kvm: *mut ffi::Kvm) -> Self {
        // INVARIANT: By the safety requirement.
        Self {
            kvm,
            _call: PhantomData,
        }
    }
}

/// A value that is read in `try_io`, and replaced as a whole.
///
/// # Invariants
///
/// `current` holds a reference. It is dropped after all sections of `kvm`'s SRCU that may have
/// read it.
pub struct Published<T> {
    /// Whose SRCU protects it. Only compared, as it may be gone.
    kvm: *mut ffi::Kvm,
    current: Atomic<*const T>,
    _value: PhantomData<Arc<T>>,
}

// SAFETY: It is an `Arc<T>`; `kvm` is not used through this.
unsafe impl<T: Send + Sync> Send for Published<T> {}

// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for Published<T> {}

impl<T> Published<T> {
    /// Publishes a first value, for the vCPUs of `vm`.
    pub fn new(vm: &Kvm<'_>, value: Arc<T>) -> Self {
        // INVARIANT: The reference was the caller's.
        Self {
            kvm: vm.kvm.as_ptr(),
            current: Atomic::new(Arc::into_raw(value)),
            _value: PhantomData,
        }
    }

    /// The value, as long as the section lasts. `None` if it is that of another VM.
    #[inline]
    pub fn read<'a>(&'a self, side: &'a ReadSide<'_>) -> Option<&'a T> {
        // SAFETY: The word is there. A volatile access of it is READ_ONCE, which with the address
        // dependency that follows is srcu_dereference(). By the type invariants, the value is not
        // freed before the section ends.
        (side.kvm == self.kvm).then(|| unsafe { &*self.current.as_ptr().read_volatile() })
    }

    /// Replaces the value, and returns when nobody reads the one before. Sleeps.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it is not this VM's.
    pub fn replace(&self, vm: &Kvm<'_>, value: Arc<T>) -> Result {
        if vm.kvm.as_ptr() != self.kvm {
            return Err(EINVAL);
        }
        let old = self.current.xchg(Arc::into_raw(value), Full);
        // SAFETY: The VM is valid, and this thread not in a section, by the invariants of `Kvm`.
        unsafe { ffi::shunt_synchronize(self.kvm) };
        // SAFETY: It held a reference, by the type invariant; only this call took it out, and all
        // sections that may have read it are over.
        drop(unsafe { Arc::from_raw(old) });
        Ok(())
    }
}

impl<T> Drop for Published<T> {
    fn drop(&mut self) {
        // SAFETY: It holds a reference, by the type invariant, and nobody reads it any more.
        drop(unsafe { Arc::from_raw(self.current.load(Acquire)) });
    }
}

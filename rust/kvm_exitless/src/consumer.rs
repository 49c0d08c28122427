// SPDX-License-Identifier: GPL-2.0-only

//! The receiving end of an interrupt that is bypassed.

use crate::ffi;
use core::ptr::NonNull;
use exitless_vectors::vectors::ChosenVector;
use kernel::{
    error::to_result,
    ffi::c_void,
    prelude::*,
    sync::Arc, //
};

/// Who wants to know of the device.
pub trait Device: Send + Sync + 'static {
    /// A device signals the eventfd, or does no longer. May sleep; must not drop the [`Consumer`].
    fn changed(&self);
}

/// Receives the interrupts of whatever device signals an eventfd.
///
/// # Invariants
///
/// `consumer` is registered, with `device`, a reference of ours, as data.
pub struct Consumer<D: Device> {
    consumer: NonNull<ffi::ShuntConsumer>,
    device: *const D,
}

// SAFETY: Any thread may use a consumer, and `Device`s are shared.
unsafe impl<D: Device> Send for Consumer<D> {}

// SAFETY: As above; it locks itself.
unsafe impl<D: Device> Sync for Consumer<D> {}

impl<D: Device> Consumer<D> {
    /// Registers it for an eventfd of the current process. If a device signals that, `device` is
    /// told before this returns.
    ///
    /// # Errors
    ///
    /// - `EBADF`, `EINVAL`: the descriptor is no eventfd's.
    /// - `EBUSY`: there is a receiver, as KVM is if the processor takes interrupts to vCPUs.
    /// - `ENOMEM`.
    pub fn new(eventfd: i32, device: Arc<D>) -> Result<Self> {
        let device = Arc::into_raw(device);
        let data = device.cast_mut().cast();
        let mut error = ENOMEM.to_errno();
        // SAFETY: The device stays valid until `drop` has unregistered the consumer; the error can
        // be written.
        let consumer =
            unsafe { ffi::shunt_consumer_register(eventfd, data, changed::<D>, &raw mut error) };
        let consumer = NonNull::new(consumer).ok_or_else(|| {
            // SAFETY: It came from `into_raw`, and nobody knows it.
            drop(unsafe { Arc::from_raw(device) });
            Error::from_errno(error)
        })?;
        // INVARIANT: Just registered with it.
        Ok(Self { consumer, device })
    }

    pub(crate) fn as_raw(&self) -> *mut ffi::ShuntConsumer {
        self.consumer.as_ptr()
    }

    /// Whether a device signals the eventfd.
    pub fn is_connected(&self) -> bool {
        // SAFETY: It is valid by the type invariant.
        unsafe { ffi::shunt_consumer_is_connected(self.consumer.as_ptr()) }
    }

    /// Moves the device's interrupt to a vector of a CPU.
    ///
    /// # Errors
    ///
    /// - `ENXIO`: no device signals the eventfd.
    /// - `EBUSY`: the vector is taken, or an earlier move has not come to its end.
    /// - `EINVAL`: it is no interrupt that can move at once.
    pub fn choose_vector(&self, cpu: u32, vector: ChosenVector) -> Result {
        let vector = vector.vector().into();
        // SAFETY: It is valid by the type invariant.
        to_result(unsafe { ffi::shunt_consumer_choose_vector(self.consumer.as_ptr(), cpu, vector) })
    }

    /// Moves it to an ordinary vector of the CPU, if there is a device; the former one is free then
    /// for another guest. Sleeps until an earlier move has come to its end.
    pub fn leave_vector(&self, cpu: u32) {
        // SAFETY: It is valid by the type invariant.
        unsafe { ffi::shunt_consumer_leave_vector(self.consumer.as_ptr(), cpu) }
    }
}

impl<D: Device> Drop for Consumer<D> {
    fn drop(&mut self) {
        // SAFETY: It is registered by the type invariant.
        unsafe { ffi::shunt_consumer_unregister(self.consumer.as_ptr()) };
        // SAFETY: The reference is ours by the type invariant, and nobody uses it any more.
        drop(unsafe { Arc::from_raw(self.device) });
    }
}

/// # Safety
///
/// As `shunt_consumer.changed`; only `helpers.c` calls it, with the data of a [`Consumer`].
unsafe extern "C" fn changed<D: Device>(device: *mut c_void) {
    // SAFETY: The consumer has a reference until it is unregistered.
    unsafe { &*device.cast::<D>() }.changed();
}

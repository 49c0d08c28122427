// SPDX-License-Identifier: GPL-2.0-only

//! Drivers that are told when the system falls asleep and wakes up (`struct dev_pm_ops`), which the
//! kernel's own abstractions of drivers do not have.

use core::marker::PhantomData;
use kernel::{
    bindings,
    device::{
        BoundInternal,
        Device, //
    },
    driver::{
        DriverLayout,
        RegistrationOps, //
    },
    ffi::c_int,
    prelude::*,
    types::Opaque, //
};

/// A device that can sleep. User space and all interrupts but those of devices stand still
/// meanwhile.
pub trait Sleep {
    /// The device will lose its power.
    fn suspend(&self);

    /// It has power again, and nothing else of what it had.
    fn wake(&self);
}

/// The adapter `A` of a driver, whose devices can sleep.
pub struct WithSleep<A>(PhantomData<A>);

// SAFETY: All is as `A` says.
unsafe impl<A: DriverLayout> DriverLayout for WithSleep<A> {
    type DriverType = A::DriverType;
    type DriverData<'bound> = A::DriverData<'bound>;
    const DEVICE_DRIVER_OFFSET: usize = A::DEVICE_DRIVER_OFFSET;
}

// SAFETY: `A` registers and unregisters.
unsafe impl<A: RegistrationOps> RegistrationOps for WithSleep<A>
where
    for<'bound> A::DriverData<'bound>: Sleep,
{
    unsafe fn register(
        driver: &Opaque<Self::DriverType>,
        name: &'static CStr,
        module: &'static ThisModule,
    ) -> Result {
        // SAFETY: There is a `struct device_driver` there, which nobody uses before it is
        // registered; the operations are static.
        unsafe {
            let generic = driver.get().byte_add(A::DEVICE_DRIVER_OFFSET);
            (*generic.cast::<bindings::device_driver>()).pm = &Self::OPERATIONS;
        }
        // SAFETY: As the caller promises.
        unsafe { A::register(driver, name, module) }
    }

    unsafe fn unregister(driver: &Opaque<Self::DriverType>) {
        // SAFETY: As the caller promises.
        unsafe { A::unregister(driver) }
    }
}

impl<A: DriverLayout> WithSleep<A>
where
    for<'bound> A::DriverData<'bound>: Sleep,
{
    /// For sleep in memory, and on disk.
    const OPERATIONS: bindings::dev_pm_ops = bindings::dev_pm_ops {
        suspend: Some(Self::suspend),
        resume: Some(Self::wake),
        freeze: Some(Self::suspend),
        thaw: Some(Self::wake),
        poweroff: Some(Self::suspend),
        restore: Some(Self::wake),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// Only for the operations of a driver that `A` registered.
    unsafe extern "C" fn suspend(device: *mut bindings::device) -> c_int {
        // SAFETY: As the caller promises.
        unsafe { Self::data(device) }.suspend();
        0
    }

    /// # Safety
    ///
    /// As [`Self::suspend`].
    unsafe extern "C" fn wake(device: *mut bindings::device) -> c_int {
        // SAFETY: As the caller promises.
        unsafe { Self::data(device) }.wake();
        0
    }

    /// # Safety
    ///
    /// As [`Self::suspend`], and the result is not used after that.
    unsafe fn data<'a>(device: *mut bindings::device) -> &'a A::DriverData<'a> {
        // SAFETY: The kernel calls with a valid device that is bound to this driver, whose lock it
        // holds; a `Device` is a transparent `struct device`.
        let device = unsafe { &*device.cast::<Device<BoundInternal>>() };
        // SAFETY: `A` has stored data of this type when the device was bound.
        unsafe { device.drvdata_borrow::<A::DriverData<'a>>() }.get_ref()
    }
}

// SPDX-License-Identifier: GPL-2.0-only

//! The one message-signalled interrupt of a PCI device, from the CPU to a driver.
//!
//! Linux 7.3's own `kernel::irq` leaves it to the driver, as an unsafe promise, that a registration
//! is dropped in time.

use kernel::{
    bindings,
    device::Core,
    error::to_result,
    ffi::{
        c_int,
        c_void, //
    },
    pci,
    prelude::*,
    sync::aref::ARef, //
};

/// What a driver does on an interrupt. Interrupts are off meanwhile.
pub trait Handler: Send + Sync + 'static {
    /// Whether the interrupt was from the device.
    fn handle(&self) -> bool;
}

/// An interrupt that comes, until this is dropped.
///
/// # Invariants
///
/// It was requested with the handler as its cookie.
pub struct Interrupt<H: Handler> {
    handler: Pin<KBox<H>>,
    irq: u32,
    /// Freed after the handler.
    _vector: Vector,
}

impl<H: Handler> Interrupt<H> {
    /// Gives the device an MSI, and the MSI its handler.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: the device has no MSI, or there is no vector. `ENOMEM`.
    pub fn new(device: &pci::Device<Core<'_>>, name: &'static CStr, handler: H) -> Result<Self> {
        let vector = Vector::new(device)?;
        let irq = vector.irq()?;
        let handler = KBox::pin(handler, GFP_KERNEL)?;
        // SAFETY: The handler fits the cookie, which stays where it is until `drop`; the name stays
        // for ever.
        to_result(unsafe {
            bindings::request_irq(
                irq,
                Some(handle::<H>),
                0,
                name.as_char_ptr(),
                cookie(&handler),
            )
        })?;
        // INVARIANT: It was just requested.
        Ok(Self {
            handler,
            irq,
            _vector: vector,
        })
    }
}

impl<H: Handler> Drop for Interrupt<H> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::free_irq(self.irq, cookie(&self.handler)) };
    }
}

fn cookie<H>(handler: &Pin<KBox<H>>) -> *mut c_void {
    core::ptr::from_ref::<H>(handler).cast_mut().cast()
}

/// What `request_irq` calls.
///
/// # Safety
///
/// `handler` is an `H`.
unsafe extern "C" fn handle<H: Handler>(
    _irq: c_int,
    handler: *mut c_void,
) -> bindings::irqreturn_t {
    // SAFETY: As the caller promises; it is there until `free_irq` has returned.
    let handler = unsafe { &*handler.cast::<H>() };
    bindings::irqreturn_t(match handler.handle() {
        true => bindings::irqreturn::IRQ_HANDLED.0,
        false => bindings::irqreturn::IRQ_NONE.0,
    })
}

/// The device's MSI.
///
/// # Invariants
///
/// It is allocated.
struct Vector(ARef<pci::Device>);

impl Vector {
    fn new(device: &pci::Device<Core<'_>>) -> Result<Self> {
        let device: ARef<pci::Device> = device.into();
        // SAFETY: The device is valid, and `Core` says that nobody else sets it up meanwhile.
        let number =
            unsafe { bindings::pci_alloc_irq_vectors(raw(&device), 1, 1, bindings::PCI_IRQ_MSI) };
        to_result(number)?;
        // INVARIANT: It was just allocated.
        Ok(Self(device))
    }

    fn irq(&self) -> Result<u32> {
        // SAFETY: The device is valid, and by the type invariant it has this vector.
        let irq = unsafe { bindings::pci_irq_vector(raw(&self.0), 0) };
        to_result(irq)?;
        Ok(irq as u32)
    }
}

impl Drop for Vector {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; its handler has gone, as that is dropped first.
        unsafe { bindings::pci_free_irq_vectors(raw(&self.0)) };
    }
}

fn raw(device: &pci::Device) -> *mut bindings::pci_dev {
    // A `pci::Device` is a transparent `struct pci_dev`.
    core::ptr::from_ref(device).cast_mut().cast()
}

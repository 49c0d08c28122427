// SPDX-License-Identifier: GPL-2.0-only

//! Registers of a device.

use crate::trace;
use core::ptr::NonNull;
use kernel::{
    bindings,
    device::Device,
    ffi::c_void,
    pci,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};
use virtio_spec::notification::Notification;

/// Whom the registers were requested from.
enum Owner {
    Bar { device: ARef<pci::Device>, bar: i32 },
    Resource { start: u64 },
}

/// A mapped range of registers.
///
/// # Invariants
///
/// `start` is the mapping of `bytes` bytes, and both it and what it maps are held for `owner`.
pub(crate) struct Mapping {
    start: NonNull<c_void>,
    bytes: usize,
    owner: Owner,
}

// SAFETY: Any thread may access registers and give them back.
unsafe impl Send for Mapping {}

// SAFETY: All accesses are single loads and stores of the device, which may race.
unsafe impl Sync for Mapping {}

/// Who `/proc/iomem` says has the registers.
const NAME: &CStr = c"virtio_fe";

impl Mapping {
    /// Maps a whole base address register.
    ///
    /// # Errors
    ///
    /// - `EBUSY`: another driver has it.
    /// - `ENOMEM`: it is not there, or cannot be mapped.
    pub(crate) fn of_bar(device: &pci::Device, bar: u8) -> Result<Self> {
        let bytes = device.resource_len(bar.into())?;
        let raw = raw_pci(device);
        let bar = i32::from(bar);
        // SAFETY: `raw` is valid, and the name is static.
        kernel::error::to_result(unsafe {
            bindings::pci_request_region(raw, bar, NAME.as_char_ptr())
        })?;
        // SAFETY: The region was just requested.
        let start = NonNull::new(unsafe { bindings::pci_iomap(raw, bar, 0) });
        let Some(start) = start else {
            // SAFETY: As above.
            unsafe { bindings::pci_release_region(raw, bar) };
            return Err(ENOMEM);
        };
        // INVARIANT: It was just mapped, all of it, and requested.
        Ok(Self {
            start,
            bytes: bytes as usize,
            owner: Owner::Bar {
                device: device.into(),
                bar,
            },
        })
    }

    /// Maps a range of physical addresses.
    ///
    /// # Errors
    ///
    /// - `EBUSY`: another driver has it.
    /// - `ENOMEM`: it cannot be mapped.
    pub(crate) fn of_resource(start: u64, bytes: usize) -> Result<Self> {
        let all = &raw mut bindings::iomem_resource;
        // SAFETY: `all` is a resource of the kernel's, and the name is static.
        let region =
            unsafe { bindings::__request_region(all, start, bytes as u64, NAME.as_char_ptr(), 0) };
        if region.is_null() {
            return Err(EBUSY);
        }
        // SAFETY: The range is ours.
        let Some(mapped) = NonNull::new(unsafe { bindings::ioremap(start, bytes) }) else {
            // SAFETY: It was just requested.
            unsafe { bindings::__release_region(all, start, bytes as u64) };
            return Err(ENOMEM);
        };
        // INVARIANT: It was just mapped, and requested.
        Ok(Self {
            start: mapped,
            bytes,
            owner: Owner::Resource { start },
        })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it is mapped and requested; nobody uses it any more.
        unsafe {
            match &self.owner {
                Owner::Bar { device, bar } => {
                    bindings::pci_iounmap(raw_pci(device), self.start.as_ptr());
                    bindings::pci_release_region(raw_pci(device), *bar);
                }
                Owner::Resource { start } => {
                    bindings::iounmap(self.start.as_ptr());
                    let all = &raw mut bindings::iomem_resource;
                    bindings::__release_region(all, *start, self.bytes as u64);
                }
            }
        }
    }
}

pub(crate) fn raw_pci(device: &pci::Device) -> *mut bindings::pci_dev {
    // A `pci::Device` is a transparent `struct pci_dev`.
    core::ptr::from_ref(device).cast_mut().cast()
}

/// A part of the registers. What is not in it reads as ones, and writes to it do nothing: as from
/// a device that has gone.
#[derive(Clone)]
pub struct Window {
    mapping: Arc<Mapping>,
    offset: usize,
    bytes: usize,
}

macro_rules! accessors {
    ($read:ident, $write:ident, $type:ty, $raw_read:ident, $raw_write:ident) => {
        #[doc = concat!("Reads the `", stringify!($type), "` at `at`.")]
        #[inline]
        pub fn $read(&self, at: usize) -> $type {
            match self.address(at, size_of::<$type>()) {
                // SAFETY: `address` checked it.
                Some(address) => unsafe { bindings::$raw_read(address) },
                None => <$type>::MAX,
            }
        }

        #[doc = concat!("Writes the `", stringify!($type), "` at `at`.")]
        #[inline]
        pub fn $write(&self, at: usize, value: $type) {
            if let Some(address) = self.address(at, size_of::<$type>()) {
                // SAFETY: `address` checked it.
                unsafe { bindings::$raw_write(value, address) };
            }
        }
    };
}

impl Window {
    /// The part from `offset` on. `None` if the mapping is shorter.
    pub(crate) fn new(mapping: Arc<Mapping>, offset: usize, bytes: usize) -> Option<Self> {
        let end = offset.checked_add(bytes)?;
        (end <= mapping.bytes).then_some(Self {
            mapping,
            offset,
            bytes,
        })
    }

    /// All of it.
    pub(crate) fn whole(mapping: Arc<Mapping>) -> Self {
        let bytes = mapping.bytes;
        Self {
            mapping,
            offset: 0,
            bytes,
        }
    }

    /// Its length.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The part of it from `offset` on.
    pub(crate) fn part(&self, offset: usize, bytes: usize) -> Option<Self> {
        let end = offset.checked_add(bytes)?;
        (end <= self.bytes).then(|| Self {
            mapping: self.mapping.clone(),
            offset: self.offset + offset,
            bytes,
        })
    }

    /// What remains of it from `offset` on.
    pub(crate) fn rest(&self, offset: usize) -> Option<Self> {
        self.part(offset, self.bytes.checked_sub(offset)?)
    }

    #[inline]
    fn address(&self, at: usize, width: usize) -> Option<*mut c_void> {
        let is_inside = at % width == 0 && at.checked_add(width)? <= self.bytes;
        // SAFETY: It is inside of the window, and that is inside of the mapping.
        is_inside.then(|| unsafe { self.mapping.start.as_ptr().byte_add(self.offset + at) })
    }

    accessors!(read8, write8, u8, readb, writeb);
    accessors!(read16, write16, u16, readw, writew);
    accessors!(read32, write32, u32, readl, writel);

    /// Writes 64 bits as two registers, the lower half first.
    pub(crate) fn write64(&self, at: usize, value: u64) {
        self.write32(at, value as u32);
        self.write32(at + 4, (value >> 32) as u32);
    }
}

/// What a queue's notifications are written to, and how.
pub struct Doorbell {
    window: Window,
    form: Form,
    /// Whose it is, for who watches.
    device: ARef<Device>,
}

/// What a notification is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The number of the queue, in 16 bits.
    Queue16,
    /// The number of the queue, in 32 bits.
    Queue32,
    /// With `VIRTIO_F_NOTIFICATION_DATA`.
    Data,
}

impl Doorbell {
    pub(crate) fn new(window: Window, form: Form, device: ARef<Device>) -> Self {
        Self {
            window,
            form,
            device,
        }
    }

    /// Tells who watches that the device has used so many buffers of this queue.
    #[inline]
    pub fn answered(&self, queue: u16, count: u32) {
        trace::used(&self.device, queue, count);
    }

    /// Notifies the device.
    #[inline]
    pub fn ring(&self, notification: Notification) {
        trace::notify(&self.device, notification);
        match self.form {
            Form::Queue16 => self.window.write16(0, notification.queue),
            Form::Queue32 => self.window.write32(0, notification.queue.into()),
            Form::Data => self.window.write32(0, notification.data()),
        }
    }
}

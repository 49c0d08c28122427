// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A driver with a ring of the kernel's: `c/driver.c`.

use std::ffi::{c_uint, c_void};
use std::ptr::{self, NonNull};

use virtio_ring::memory::Areas;

use crate::area::{together, Area};
use crate::case::{Format, LENGTHS, QUEUE_SIZE};
use crate::driver::Driver;

// See c/driver.h.
extern "C" {
    fn driver_new(size: u16, features: u64, lengths: *const u32) -> *mut c_void;
    fn driver_areas(driver: *const c_void, areas: *mut *mut u8);
    fn driver_offer(driver: *mut c_void, count: c_uint) -> bool;
    fn driver_collect(driver: *mut c_void, count: c_uint) -> c_uint;
}

/// # Invariants
///
/// It is a driver of `c/driver.c` that nobody else uses.
pub(crate) struct Kernels(NonNull<c_void>);

// SAFETY: It does not care which thread uses it.
unsafe impl Send for Kernels {}

impl Kernels {
    /// A driver, and the memory of its ring.
    pub(crate) fn start(format: Format) -> (Box<dyn Driver>, Areas<Area>) {
        let features = format.features().bits();
        // SAFETY: There are three lengths.
        let driver = unsafe { driver_new(QUEUE_SIZE, features, LENGTHS.as_ptr()) };
        let driver = NonNull::new(driver).expect("there is memory");
        let mut starts = [ptr::null_mut(); 3];
        // SAFETY: It is a driver, and there is room for three.
        unsafe { driver_areas(driver.as_ptr(), starts.as_mut_ptr()) };
        let area = |(start, bytes): (*mut u8, usize)| {
            // SAFETY: It is the kernel's area, rounded up to whole words, which has room for that
            // and is never freed; accesses of the driver are single instructions.
            unsafe { Area::at(start, bytes.next_multiple_of(8)) }
        };
        let [descriptors, driver_area, device] = starts;
        let [a, b, c] = format.areas();
        let areas = together([(descriptors, a), (driver_area, b), (device, c)].map(area));
        // INVARIANT: It was just made.
        (Box::new(Self(driver)), areas)
    }
}

impl Driver for Kernels {
    fn offer(&mut self, count: usize) {
        // SAFETY: By the type invariant.
        let fitted = unsafe { driver_offer(self.0.as_ptr(), count as c_uint) };
        assert!(fitted, "there is room for a batch");
    }

    fn collect(&mut self, count: usize) -> usize {
        // SAFETY: By the type invariant.
        unsafe { driver_collect(self.0.as_ptr(), count as c_uint) as usize }
    }
}

// SPDX-License-Identifier: GPL-2.0-only

//! The two areas of a channel in shared memory, and sleeping on them.

use crate::{
    ffi,
    Deadline, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use ioregion_ring::{
    completion,
    layout::Layout,
    memory::Memory,
    producer::Producer, //
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        barrier::{
            smp_mb,
            Full, //
        },
    },
};

/// Memory that a device process maps, and the file that it maps it from.
///
/// # Invariants
///
/// `ring` holds a reference; `kernel` and `device` are its areas, which stay where they are as long
/// as it, and have `kernel_size` and `device_size` bytes; `is_gone` belongs to it, too.
pub struct SharedRing {
    ring: NonNull<ffi::ShuntRing>,
    kernel: *mut u64,
    kernel_size: usize,
    device: *mut u64,
    device_size: usize,
    is_gone: *const bool,
    layout: Layout,
}

// SAFETY: References to a ring may be dropped by any thread.
unsafe impl Send for SharedRing {}

// SAFETY: All state of a ring is atomic or locks itself.
unsafe impl Sync for SharedRing {}

impl SharedRing {
    /// New areas, all zeroes.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(layout: Layout) -> Result<Self> {
        // SAFETY: There are no requirements.
        let ring = unsafe {
            ffi::shunt_ring_alloc(
                layout.kernel_area(),
                layout.device_area(),
                layout.slots() as u32,
                layout.slot(0),
                layout.vcpus() as u32,
            )
        };
        // INVARIANT: It was just allocated, with these sizes and one reference.
        let ring = NonNull::new(ring).ok_or(ENOMEM)?;
        Ok(Self {
            ring,
            // SAFETY: The ring is valid.
            kernel: unsafe { ffi::shunt_ring_kernel_area(ring.as_ptr()) }.cast(),
            // SAFETY: The ring is valid.
            device: unsafe { ffi::shunt_ring_device_area(ring.as_ptr()) }.cast(),
            kernel_size: layout.kernel_area(),
            device_size: layout.device_area(),
            // SAFETY: The ring is valid.
            is_gone: unsafe { ffi::shunt_ring_device_is_gone(ring.as_ptr()) },
            layout,
        })
    }

    /// The dimensions.
    #[inline]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Makes the file of the ring, for the device process. To be called once, from an ioctl:
    /// when the file is released, the device is gone.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENOMEM`.
    pub fn open(&self) -> Result<i32> {
        // SAFETY: The ring is valid by the type invariant.
        let fd = unsafe { ffi::shunt_ring_open(self.ring.as_ptr()) };
        to_result(fd).map(|()| fd)
    }

    /// Whether this is the ring behind a descriptor of the current process.
    pub fn is_behind(&self, fd: i32) -> bool {
        // SAFETY: There are no requirements.
        let Some(ring) = NonNull::new(unsafe { ffi::shunt_ring_get(fd) }) else {
            return false;
        };
        // SAFETY: `shunt_ring_get` gave this reference.
        unsafe { ffi::shunt_ring_put(ring.as_ptr()) };
        ring == self.ring
    }

    /// The area that the kernel writes.
    #[inline]
    pub fn kernel_area(&self) -> Area<'_> {
        Area {
            start: self.kernel,
            size: self.kernel_size,
            _ring: PhantomData,
        }
    }

    /// The area that the device writes.
    #[inline]
    pub fn device_area(&self) -> Area<'_> {
        Area {
            start: self.device,
            size: self.device_size,
            _ring: PhantomData,
        }
    }

    /// Whether no process has the file open or mapped any more.
    #[inline]
    pub fn device_is_gone(&self) -> bool {
        // SAFETY: It is valid by the type invariant. Other threads may set it meanwhile, with
        // WRITE_ONCE; this is READ_ONCE.
        unsafe { self.is_gone.read_volatile() }
    }

    /// How many changes there were that waiting vCPUs have to know of. To be read before the
    /// look that precedes a sleep.
    #[inline]
    pub fn changes(&self) -> u32 {
        // SAFETY: The ring is valid by the type invariant.
        unsafe { ffi::shunt_ring_changes(self.ring.as_ptr()) }
    }

    /// Makes every waiting vCPU look again.
    pub fn announce(&self) {
        // SAFETY: The ring is valid by the type invariant.
        unsafe { ffi::shunt_ring_announce(self.ring.as_ptr()) }
    }

    /// Wakes the device process.
    #[inline]
    pub fn wake_device(&self) {
        // SAFETY: The ring is valid by the type invariant.
        unsafe { ffi::shunt_ring_wake_device(self.ring.as_ptr()) }
    }

    /// Spins until a request of a vCPU is answered, for `ns` nanoseconds at most, and while
    /// there is nothing better to do. Says whether it is.
    pub fn spin(&self, vcpu: usize, request: u64, ns: u64) -> bool {
        let line = Layout::completion(self.checked(vcpu));
        // SAFETY: The ring is valid by the type invariant, and the line inside of its area.
        unsafe { ffi::shunt_ring_spin(self.ring.as_ptr(), line, request, ns) }
    }

    /// Sleeps until a request of a vCPU is answered, or there are other changes than `seen`.
    /// Yields the answer, if it is that.
    ///
    /// # Errors
    ///
    /// `EINTR`: a signal is pending. `ETIMEDOUT`: the deadline came.
    #[inline]
    pub fn sleep(
        &self,
        vcpu: usize,
        request: u64,
        seen: u32,
        deadline: Deadline,
    ) -> Result<Option<u64>> {
        let vcpu = self.checked(vcpu);
        let line = Layout::completion(vcpu);
        let own = self.kernel_area();
        completion::fall_asleep(&own, vcpu);
        // SAFETY: As in `spin`.
        let r = unsafe {
            ffi::shunt_ring_sleep(
                self.ring.as_ptr(),
                vcpu as u32,
                line,
                request,
                seen,
                deadline.as_raw(),
            )
        };
        completion::wake_up(&own, vcpu);
        match r {
            0 => Ok(completion::answer(&self.device_area(), vcpu, request)),
            _ => Err(Error::from_errno(r)),
        }
    }

    /// Sleeps until there are other changes than `seen`, of which room in the ring is one if it
    /// was asked for.
    ///
    /// # Errors
    ///
    /// `EINTR`: a signal is pending. `ETIMEDOUT`: the deadline came.
    pub fn wait_for_room(&self, seen: u32, deadline: Deadline) -> Result {
        // SAFETY: The ring is valid by the type invariant.
        to_result(unsafe {
            ffi::shunt_ring_wait_for_room(self.ring.as_ptr(), seen, deadline.as_raw())
        })
    }

    /// A vCPU that there is a line for.
    #[inline]
    fn checked(&self, vcpu: usize) -> usize {
        usize::min(vcpu, self.layout.vcpus() - 1)
    }
}

impl Drop for SharedRing {
    fn drop(&mut self) {
        // SAFETY: The reference is ours by the type invariant.
        unsafe {
            ffi::shunt_ring_close(self.ring.as_ptr());
            ffi::shunt_ring_put(self.ring.as_ptr());
        }
    }
}

/// [`Producer::stop_wanting_room`], for the calls of the device in `shared_ring.c`.
///
/// # Safety
///
/// `start` is the kernel's area of a ring, of `size` bytes.
#[no_mangle]
unsafe extern "C" fn shunt_ring_stop_wanting_room(start: *mut u64, size: usize) -> bool {
    // INVARIANT: By the requirements of this function, until it returns.
    let own = Area {
        start,
        size,
        _ring: PhantomData,
    };
    Producer::stop_wanting_room(&own)
}

/// One area of a ring.
///
/// # Invariants
///
/// `start` is aligned to a page and valid for `size` bytes, whole pages, as long as the ring.
pub struct Area<'a> {
    start: *mut u64,
    size: usize,
    _ring: PhantomData<&'a SharedRing>,
}

impl Area<'_> {
    #[inline(always)]
    fn word(&self, at: usize) -> *mut u64 {
        // What is out of range is a bug of ours: offsets come from a layout, not from the device.
        let index = if at < self.size { at / 8 } else { 0 };
        self.start.wrapping_add(index)
    }

    #[inline(always)]
    fn atomic(&self, at: usize) -> &Atomic<u64> {
        // SAFETY: The word is inside of the area, by the check in `word` and the type invariant.
        // The device process may access it, too, which an atomic access allows for.
        unsafe { Atomic::from_ptr(self.word(at)) }
    }
}

impl Memory for Area<'_> {
    // The kernel's relaxed atomics are READ_ONCE and WRITE_ONCE, but out of line in Rust.
    #[inline(always)]
    fn load(&self, at: usize) -> u64 {
        // SAFETY: As in `atomic`; a volatile access of an aligned word is READ_ONCE.
        unsafe { self.word(at).read_volatile() }
    }

    #[inline(always)]
    fn load_acquire(&self, at: usize) -> u64 {
        self.atomic(at).load(Acquire)
    }

    #[inline(always)]
    fn store(&self, at: usize, value: u64) {
        // SAFETY: As in `atomic`; a volatile access of an aligned word is WRITE_ONCE.
        unsafe { self.word(at).write_volatile(value) }
    }

    #[inline(always)]
    fn store_words<const N: usize>(&self, at: usize, values: [u64; N]) {
        const { assert!(N <= 512) };
        // As in `word`, for all of them.
        let first = if at.wrapping_add(8 * N) <= self.size {
            at / 8
        } else {
            0
        };
        let to = self.start.wrapping_add(first);
        // SAFETY: An area is a page at least, so the words are inside of it. The other side may
        // load them meanwhile; it gets a mixture then, which is why a stamp says that they are
        // complete.
        unsafe { values.as_ptr().copy_to_nonoverlapping(to, N) };
    }

    #[inline(always)]
    fn store_release(&self, at: usize, value: u64) {
        self.atomic(at).store(value, Release);
    }

    #[inline(always)]
    fn full_barrier(&self) {
        smp_mb(Full);
    }
}

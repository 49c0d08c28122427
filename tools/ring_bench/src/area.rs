// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Memory that a driver and a device of this process share.

use std::arch::asm;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use virtio_ring::memory::{Areas, Memory};

/// Words that are never freed; all accesses are atomic.
#[derive(Clone, Copy)]
pub(crate) struct Area {
    start: *const AtomicU64,
    bytes: usize,
}

// SAFETY: All accesses are atomic, and the memory stays.
unsafe impl Send for Area {}

/// What the CPU and the cache see as one page.
#[repr(C, align(4096))]
struct Page([AtomicU64; 512]);

impl Area {
    /// At least `bytes` cleared bytes, on pages of their own.
    pub(crate) fn new(bytes: usize) -> Self {
        let page = || Page([const { AtomicU64::new(0) }; 512]);
        let pages: Vec<Page> = (0..bytes.div_ceil(size_of::<Page>()))
            .map(|_| page())
            .collect();
        let pages = pages.leak();
        // SAFETY: All of it is there, forever.
        unsafe { Self::at(pages.as_ptr().cast(), size_of_val(pages)) }
    }

    /// # Safety
    ///
    /// `bytes` bytes from `start` on, both multiples of 8, stay valid, and whoever else accesses
    /// them does so atomically.
    pub(crate) unsafe fn at(start: *const u8, bytes: usize) -> Self {
        let start = start.cast();
        Self { start, bytes }
    }

    /// First address, and length.
    pub(crate) fn span(&self) -> (u64, u64) {
        (self.start as u64, self.bytes as u64)
    }

    /// Where the word of `T` at `at` is. The optimizer knows of most offsets that they are aligned.
    #[inline(always)]
    fn place<T>(&self, at: usize) -> *mut T {
        assert!(at % size_of::<T>() == 0 && at < self.bytes);
        self.start.cast::<T>().cast_mut().wrapping_byte_add(at)
    }
}

macro_rules! accesses {
    ($($atomic:ident $type:ty: $load:ident $load_order:ident, $store:ident $store_order:ident;)*) => {$(
        #[inline(always)]
        fn $load(&self, at: usize) -> $type {
            // SAFETY: It is aligned and, as lengths are multiples of 8, inside.
            let word = unsafe { $atomic::from_ptr(self.place(at)) };
            <$type>::from_le(word.load(Ordering::$load_order))
        }

        #[inline(always)]
        fn $store(&self, at: usize, value: $type) {
            // SAFETY: As above.
            let word = unsafe { $atomic::from_ptr(self.place(at)) };
            word.store(value.to_le(), Ordering::$store_order);
        }
    )*};
}

impl Memory for Area {
    #[inline(always)]
    fn bytes(&self) -> usize {
        self.bytes
    }

    accesses! {
        AtomicU16 u16: load16 Relaxed, store16 Relaxed;
        AtomicU16 u16: load16_acquire Acquire, store16_release Release;
        AtomicU32 u32: load32 Relaxed, store32 Relaxed;
        AtomicU64 u64: load64 Relaxed, store64 Relaxed;
        AtomicU64 u64: load64_acquire Acquire, store64_release Release;
    }

    /// Both are there if the second one is: one check, as the kernel's own memory has.
    #[inline(always)]
    fn store64_pair(&self, at: usize, [low, high]: [u64; 2]) {
        assert!(at % 16 == 0);
        let second = self.place::<u64>(at | 8);
        for (place, value) in [(second.wrapping_sub(1), low), (second, high)] {
            // SAFETY: It is aligned and, as lengths are multiples of 8, inside.
            let word = unsafe { AtomicU64::from_ptr(place) };
            word.store(value.to_le(), Ordering::Relaxed);
        }
    }

    /// As gcc compiles `__sync_synchronize()` and the kernel defines `smp_mb()`; `fence` would be
    /// an `mfence`, which is several times as slow.
    #[inline(always)]
    fn full_barrier(&self) {
        // SAFETY: It changes nothing but the order of accesses.
        unsafe { asm!("lock or qword ptr [rsp], 0") };
    }
}

/// Descriptor area, driver area and device area.
pub(crate) fn together([descriptors, driver, device]: [Area; 3]) -> Areas<Area> {
    Areas {
        descriptors,
        driver,
        device,
    }
}

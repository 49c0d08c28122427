// SPDX-License-Identifier: GPL-2.0-only

//! Memory that the driver and the device share.

use crate::ffi;
use core::{
    marker::PhantomData,
    ptr::NonNull,
    sync::atomic::{
        fence,
        AtomicU16,
        AtomicU32,
        AtomicU64,
        Ordering, //
    },
};
use kernel::{
    device::{
        Bound,
        Device, //
    },
    dma::Coherent,
    prelude::*, //
};
use virtio_ring::memory::Memory;

/// How the device reaches memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// As the CPU does: by physical addresses.
    Physical,
    /// As the platform tells, with `VIRTIO_F_ACCESS_PLATFORM`: by the addresses of the DMA API.
    Platform,
}

enum Owner {
    Pages { bytes: usize },
    Coherent(#[expect(dead_code, reason = "owns the memory")] Coherent<[u64]>),
}

/// Zeroed memory that both sides may access at any time, from a page boundary on.
///
/// # Invariants
///
/// `view` is memory that `owner` owns.
pub struct DmaMemory {
    view: DmaView<'static>,
    owner: Owner,
}

impl DmaMemory {
    /// Allocates at least `bytes` bytes.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(device: &Device<Bound>, access: Access, bytes: usize) -> Result<Self> {
        let words = bytes.div_ceil(8).max(1);
        let bytes = 8 * words;
        let (start, address, owner) = match access {
            Access::Platform => {
                let memory = Coherent::<u64>::zeroed_slice(device, words, GFP_KERNEL)?;
                let start = memory.as_mut_ptr().cast::<u8>();
                (start, memory.dma_address(), Owner::Coherent(memory))
            }
            Access::Physical => {
                // SAFETY: It allocates, or gives null.
                let start = unsafe { ffi::shunt_pages_alloc(bytes) };
                // SAFETY: The address is only computed, whatever it is.
                let address = unsafe { ffi::shunt_pages_address(start) };
                (start.cast(), address, Owner::Pages { bytes })
            }
        };
        // INVARIANT: It was just allocated.
        let view = DmaView {
            start: NonNull::new(start).ok_or(ENOMEM)?,
            address,
            bytes,
            _memory: PhantomData,
        };
        Ok(Self { view, owner })
    }

    /// Where the device finds it.
    pub fn address(&self) -> u64 {
        self.view.address
    }

    /// A part of it, from a multiple of 16 on; empty if it is not all inside.
    #[inline]
    pub fn part(&self, offset: usize, bytes: usize) -> DmaView<'_> {
        let is_inside = offset
            .checked_add(bytes)
            .is_some_and(|end| end <= self.view.bytes);
        let (offset, bytes) = if is_inside { (offset, bytes) } else { (0, 0) };
        DmaView {
            // SAFETY: It is inside.
            start: unsafe { self.view.start.add(offset) },
            address: self.view.address.wrapping_add(offset as u64),
            bytes,
            _memory: PhantomData,
        }
    }
}

impl Drop for DmaMemory {
    fn drop(&mut self) {
        if let Owner::Pages { bytes } = self.owner {
            // SAFETY: It was allocated with this size.
            unsafe { ffi::shunt_pages_free(self.view.start.as_ptr().cast(), bytes) };
        }
    }
}

/// A part of shared memory.
///
/// # Invariants
///
/// `start` is the start of `bytes` bytes that are there during `'a`, and a multiple of 16.
pub struct DmaView<'a> {
    start: NonNull<u8>,
    address: u64,
    bytes: usize,
    _memory: PhantomData<&'a DmaMemory>,
}

// SAFETY: All accesses are atomic.
unsafe impl Send for DmaView<'_> {}

// SAFETY: As above.
unsafe impl Sync for DmaView<'_> {}

impl DmaView<'_> {
    /// Where the device finds it.
    #[inline]
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Loads a byte, unordered. 0 if there is none.
    #[inline]
    pub fn load8(&self, at: usize) -> u8 {
        if at >= self.bytes {
            return 0;
        }
        // SAFETY: It is inside; the device may write it at any time.
        unsafe { self.start.add(at).read_volatile() }
    }
}

macro_rules! atomics {
    ($($name:ident: $atomic:ident, $number:literal;)*) => {$(
        /// So many words of this kind, if they are all there.
        #[inline(always)]
        fn $name(&self, at: usize) -> Option<&[$atomic; $number]> {
            const WIDTH: usize = size_of::<$atomic>();
            let is_inside = at < self.bytes && $number * WIDTH <= self.bytes - at;
            let words = self.start.as_ptr().wrapping_add(at).cast::<[$atomic; $number]>();
            // SAFETY: They are inside, and aligned as `start` is; all accesses are atomic.
            (is_inside && at % WIDTH == 0).then(|| unsafe { &*words })
        }
    )*};
}

impl DmaView<'_> {
    atomics! {
        word16: AtomicU16, 1;
        word32: AtomicU32, 1;
        word64: AtomicU64, 1;
        pair32: AtomicU32, 2;
        pair64: AtomicU64, 2;
    }
}

macro_rules! accesses {
    ($($word:ident, $type:ty, $load:ident, $load_order:ident, $store:ident, $store_order:ident;)*) => {$(
        #[inline(always)]
        fn $load(&self, at: usize) -> $type {
            self.$word(at).map_or(0, |[word]| <$type>::from_le(word.load(Ordering::$load_order)))
        }

        #[inline(always)]
        fn $store(&self, at: usize, value: $type) {
            if let Some([word]) = self.$word(at) {
                word.store(value.to_le(), Ordering::$store_order);
            }
        }
    )*};
}

/// Rust's atomics and not the kernel's, because with C by gcc each of those is a function call.
/// What they order is ordered for other CPUs and for coherent devices of x86 alike; so there is
/// no difference with `VIRTIO_F_ORDER_PLATFORM`.
impl Memory for DmaView<'_> {
    #[inline(always)]
    fn bytes(&self) -> usize {
        self.bytes
    }

    accesses! {
        word16, u16, load16, Relaxed, store16, Relaxed;
        word16, u16, load16_acquire, Acquire, store16_release, Release;
        word32, u32, load32, Relaxed, store32, Relaxed;
        word64, u64, load64, Relaxed, store64, Relaxed;
        word64, u64, load64_acquire, Acquire, store64_release, Release;
    }

    #[inline(always)]
    fn full_barrier(&self) {
        fence(Ordering::SeqCst);
    }

    #[inline(always)]
    fn load32_pair(&self, at: usize) -> [u32; 2] {
        self.pair32(at).map_or([0; 2], |[low, high]| {
            [low, high].map(|word| u32::from_le(word.load(Ordering::Relaxed)))
        })
    }

    #[inline(always)]
    fn load64_pair(&self, at: usize) -> [u64; 2] {
        self.pair64(at).map_or([0; 2], |[low, high]| {
            [low, high].map(|word| u64::from_le(word.load(Ordering::Relaxed)))
        })
    }

    #[inline(always)]
    fn store64_pair(&self, at: usize, [low, high]: [u64; 2]) {
        if let Some([first, second]) = self.pair64(at) {
            first.store(low.to_le(), Ordering::Relaxed);
            second.store(high.to_le(), Ordering::Relaxed);
        }
    }
}

/// Hands each call on to the whole of it.
macro_rules! delegate {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {$(
        #[inline(always)]
        fn $name(&self, $($argument: $type),*) $(-> $result)? {
            self.view.$name($($argument),*)
        }
    )*};
}

impl Memory for DmaMemory {
    delegate! {
        bytes() -> usize;
        load16(at: usize) -> u16;
        load16_acquire(at: usize) -> u16;
        load32(at: usize) -> u32;
        load64(at: usize) -> u64;
        load64_acquire(at: usize) -> u64;
        store16(at: usize, value: u16);
        store16_release(at: usize, value: u16);
        store32(at: usize, value: u32);
        store64(at: usize, value: u64);
        store64_release(at: usize, value: u64);
        full_barrier();
        load32_pair(at: usize) -> [u32; 2];
        load64_pair(at: usize) -> [u64; 2];
        store64_pair(at: usize, value: [u64; 2]);
    }
}

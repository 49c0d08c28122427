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
        // What begins in the last of them is inside, whatever it is.
        let bytes = bytes
            .next_multiple_of(MOST)
            .checked_add(MOST)
            .ok_or(ENOMEM)?;
        let words = bytes / size_of::<u64>();
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
            last: bytes - MOST,
            _memory: PhantomData,
        };
        Ok(Self { view, owner })
    }

    /// Where the device finds it.
    pub fn address(&self) -> u64 {
        self.view.address
    }

    /// A part of it, both of whose ends are multiples of 16. `None` if there is no such part.
    #[inline]
    pub fn part(&self, offset: usize, bytes: usize) -> Option<DmaView<'_>> {
        let last = bytes.checked_sub(MOST)?;
        let room = self.view.last.checked_sub(last)?;
        if (offset | bytes) % MOST != 0 || offset > room {
            return None;
        }
        Some(DmaView {
            // SAFETY: It is inside.
            start: unsafe { self.view.start.add(offset) },
            address: self.view.address.wrapping_add(offset as u64),
            last,
            _memory: PhantomData,
        })
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

/// Bytes of the largest access.
const MOST: usize = 16;

/// A part of shared memory.
///
/// # Invariants
///
/// `start` is the start of `last + MOST` bytes that are there during `'a`, and a multiple of
/// `MOST`.
pub struct DmaView<'a> {
    start: NonNull<u8>,
    address: u64,
    last: usize,
    _memory: PhantomData<&'a DmaMemory>,
}

// SAFETY: All accesses are atomic.
unsafe impl Send for DmaView<'_> {}

// SAFETY: As above.
unsafe impl Sync for DmaView<'_> {}

impl DmaView<'_> {
    /// What remains of it from `offset`, a multiple of 16, on. `None` if that is not there.
    #[inline]
    pub fn rest(&self, offset: usize) -> Option<Self> {
        let last = self.last.checked_sub(offset)?;
        if offset % MOST != 0 {
            return None;
        }
        Some(Self {
            // SAFETY: It is inside.
            start: unsafe { self.start.add(offset) },
            address: self.address.wrapping_add(offset as u64),
            last,
            _memory: PhantomData,
        })
    }

    /// Where the device finds it.
    #[inline]
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Loads a byte, unordered. 0 if it is not surely there.
    #[inline]
    pub fn load8(&self, at: usize) -> u8 {
        if at > self.last {
            return 0;
        }
        // SAFETY: It is inside; the device may write it at any time.
        unsafe { self.start.add(at).read_volatile() }
    }
}

macro_rules! atomics {
    ($($name:ident: $atomic:ident, $number:literal;)*) => {$(
        /// So many words of this kind, if they are surely there.
        #[inline(always)]
        fn $name(&self, at: usize) -> Option<&[$atomic; $number]> {
            const WIDTH: usize = size_of::<$atomic>();
            const { assert!($number * WIDTH <= MOST) };
            let is_there = at <= self.last && at % WIDTH == 0;
            // SAFETY: They are inside, by this and the type invariant, and aligned as `start` is;
            // all accesses are atomic.
            is_there.then(|| unsafe { self.start.add(at).cast().as_ref() })
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
        self.last + MOST
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

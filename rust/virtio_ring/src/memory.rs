// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What a ring asks of memory.

/// An area of memory that the driver and the device share. Offsets are in bytes and multiples of
/// the width; values are little-endian there, and the CPU's here.
///
/// An access of up to 64 bits happens at once. A ring stays inside of the area, [`Self::bytes`]
/// long; an implementation that is asked for more must not comply.
pub trait Memory {
    /// Length of the area.
    fn bytes(&self) -> usize;

    /// Loads 16 bits, unordered.
    fn load16(&self, at: usize) -> u16;

    /// Loads 16 bits; what follows in program order is seen after it.
    fn load16_acquire(&self, at: usize) -> u16;

    /// Loads 32 bits, unordered.
    fn load32(&self, at: usize) -> u32;

    /// Loads 64 bits, unordered.
    fn load64(&self, at: usize) -> u64;

    /// Loads 64 bits; what follows in program order is seen after it.
    fn load64_acquire(&self, at: usize) -> u64;

    /// Stores 16 bits, unordered.
    fn store16(&self, at: usize, value: u16);

    /// Stores 16 bits; what precedes in program order is seen before it.
    fn store16_release(&self, at: usize, value: u16);

    /// Stores 32 bits, unordered.
    fn store32(&self, at: usize, value: u32);

    /// Stores 64 bits, unordered.
    fn store64(&self, at: usize, value: u64);

    /// Stores 64 bits; what precedes in program order is seen before it.
    fn store64_release(&self, at: usize, value: u64);

    /// Orders all accesses before it before all after it, in every area.
    fn full_barrier(&self);

    /// Loads two times 32 bits, unordered.
    #[inline(always)]
    fn load32_pair(&self, at: usize) -> [u32; 2] {
        [self.load32(at), self.load32(at.wrapping_add(4))]
    }

    /// Loads two times 64 bits, unordered.
    #[inline(always)]
    fn load64_pair(&self, at: usize) -> [u64; 2] {
        [self.load64(at), self.load64(at.wrapping_add(8))]
    }

    /// Stores two times 64 bits, unordered.
    #[inline(always)]
    fn store64_pair(&self, at: usize, [low, high]: [u64; 2]) {
        self.store64(at, low);
        self.store64(at.wrapping_add(8), high);
    }
}

/// Memory that one thread has for itself, so that no order of accesses is needed. Any is a [`Memory`].
pub trait Unshared {
    /// Length of the area.
    fn length(&self) -> usize;

    /// Loads bytes, a multiple of which `at` is.
    fn load<const N: usize>(&self, at: usize) -> [u8; N];

    /// Stores bytes, a multiple of which `at` is.
    fn store<const N: usize>(&self, at: usize, value: [u8; N]);
}

impl<M: Unshared> Memory for M {
    fn bytes(&self) -> usize {
        self.length()
    }

    fn load16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.load(at))
    }

    fn load16_acquire(&self, at: usize) -> u16 {
        self.load16(at)
    }

    fn load32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.load(at))
    }

    fn load64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.load(at))
    }

    fn load64_acquire(&self, at: usize) -> u64 {
        self.load64(at)
    }

    fn store16(&self, at: usize, value: u16) {
        self.store(at, value.to_le_bytes());
    }

    fn store16_release(&self, at: usize, value: u16) {
        self.store16(at, value);
    }

    fn store32(&self, at: usize, value: u32) {
        self.store(at, value.to_le_bytes());
    }

    fn store64(&self, at: usize, value: u64) {
        self.store(at, value.to_le_bytes());
    }

    fn store64_release(&self, at: usize, value: u64) {
        self.store64(at, value);
    }

    fn full_barrier(&self) {}
}

/// The areas of a virtqueue: section 2.6.
#[derive(Debug)]
pub struct Areas<M> {
    /// Descriptor area.
    pub descriptors: M,
    /// Driver area: the available ring, or the driver's event suppression.
    pub driver: M,
    /// Device area: the used ring, or the device's event suppression.
    pub device: M,
}

/// An area that is too short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// Bytes it must have.
    pub needed: usize,
    /// Bytes it has.
    pub bytes: usize,
}

impl<M: Memory> Areas<M> {
    /// # Errors
    ///
    /// [`Short`]: the first area that has not the bytes it needs.
    pub(crate) fn check(&self, [descriptors, driver, device]: [usize; 3]) -> Result<(), Short> {
        check(&self.descriptors, descriptors)?;
        check(&self.driver, driver)?;
        check(&self.device, device)
    }
}

/// # Errors
///
/// [`Short`].
pub(crate) fn check<M: Memory>(area: &M, needed: usize) -> Result<(), Short> {
    let bytes = area.bytes();
    match bytes >= needed {
        true => Ok(()),
        false => Err(Short { needed, bytes }),
    }
}

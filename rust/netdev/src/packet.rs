// SPDX-License-Identifier: GPL-2.0-only

//! Packets.

use crate::ffi;
use core::ptr::NonNull;
use kernel::{
    bindings,
    device::Device,
    error::to_result,
    prelude::*, //
};
use virtio_ring::segment::Segment;

pub use crate::ffi::MAX_SEGMENTS;

/// A packet that belongs to us: `struct sk_buff`. Dropping it counts as losing it.
///
/// # Invariants
///
/// It is valid, and nobody else refers to it.
pub struct SkBuff(NonNull<bindings::sk_buff>);

// SAFETY: Any thread may own a packet.
unsafe impl Send for SkBuff {}

// SAFETY: Through a shared reference one can only ask for the length.
unsafe impl Sync for SkBuff {}

impl SkBuff {
    /// # Safety
    ///
    /// The caller owns `raw`, which is valid, and gives it up.
    pub(crate) unsafe fn from_raw(raw: NonNull<bindings::sk_buff>) -> Self {
        Self(raw)
    }

    pub(crate) fn as_raw(&self) -> *mut bindings::sk_buff {
        self.0.as_ptr()
    }

    pub(crate) fn into_raw(self) -> *mut bindings::sk_buff {
        core::mem::ManuallyDrop::new(self).as_raw()
    }

    /// Its bytes.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "no packet is")]
    pub fn len(&self) -> u32 {
        // SAFETY: By the type invariant.
        unsafe { (*self.as_raw()).len }
    }

    /// Lets its sender go on, as it may stay with the device for long, and writes before its data
    /// what the device has to do with it. Lets the device read that and all of it but fragments,
    /// and says where; that needs work only if the device uses DMA addresses. True: it is TCP's,
    /// which does wait until it was sent, and it is to be consumed soon after that. On an error it is
    /// dropped.
    ///
    /// # Errors
    ///
    /// No memory, it cannot be mapped, or it is of a kind that there is no header for.
    #[inline(always)]
    pub fn take(self, dma: Option<&Device>) -> Result<(Taken, Segment, bool)> {
        let mut head = Segment::default();
        // SAFETY: By the type invariant.
        match unsafe { ffi::shunt_skb_take(self.as_raw(), raw_device(dma), &mut head) } {
            is_awaited @ (0 | 1) => Ok((Taken(self), head, is_awaited != 0)),
            error => Err(Error::from_errno(error)),
        }
    }

    /// It was sent. `budget` is that of NAPI, or 0 outside of it.
    #[inline]
    pub fn consume(self, budget: i32) {
        // SAFETY: By the type invariant, and it is given up.
        unsafe { ffi::shunt_skb_consume(self.into_raw(), budget) };
    }
}

impl Drop for SkBuff {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { ffi::shunt_skb_drop(self.as_raw()) };
    }
}

/// A packet that the device may read.
pub struct Taken(SkBuff);

impl Taken {
    /// Whether it has fragments.
    #[inline]
    pub fn has_fragments(&self) -> bool {
        // SAFETY: By the type invariant of the packet.
        unsafe { (*self.0.as_raw()).data_len != 0 }
    }

    /// Lets the device read its fragments, too, and keeps in `map` where all of it is. `dma` and
    /// `head` are those of when it was taken.
    ///
    /// # Errors
    ///
    /// They cannot be mapped.
    pub fn map(&self, dma: Option<&Device>, head: &Segment, map: &mut PacketMap) -> Result {
        // SAFETY: By the type invariant of the packet; `map` has room for what one can have.
        to_result(unsafe { ffi::shunt_skb_map(self.0.as_raw(), raw_device(dma), head, &mut map.0) })
    }

    /// Takes it back from the device. `dma` and, if its fragments are mapped, `map` are what they
    /// were.
    #[inline]
    pub fn take_back(self, dma: Option<&Device>, map: Option<&PacketMap>) -> SkBuff {
        if dma.is_some() {
            let map = map.map_or(core::ptr::null(), |map| &raw const map.0);
            // SAFETY: By the type invariant of the packet; this was mapped, and is used no more.
            unsafe { ffi::shunt_skb_unmap(self.0.as_raw(), raw_device(dma), map) };
        }
        self.0
    }
}

/// Where a packet with fragments is for the device, as long as it has it.
#[repr(transparent)]
#[derive(Clone, Copy, Default)]
pub struct PacketMap(ffi::RawPacketMap);

impl PacketMap {
    /// Its pieces, the head first.
    #[inline]
    pub fn pieces(&self) -> &[Segment] {
        let pieces = self.0.segments.get(..self.0.count as usize);
        pieces.unwrap_or_default()
    }
}

/// A device's pointer, or null.
pub(crate) fn raw_device(device: Option<&Device>) -> *mut c_void {
    // A `Device` is a transparent `struct device`.
    device.map_or(core::ptr::null_mut(), |device| {
        core::ptr::from_ref(device).cast_mut().cast()
    })
}

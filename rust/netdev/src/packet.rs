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
use virtio_spec::net::Header;

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
        unsafe { ffi::shunt_skb_len(self.as_raw()) }
    }

    /// Lets its sender go on, as it may stay with the device for long, and lets the device read it;
    /// that needs work only if the device uses DMA addresses. What the device has to do with it
    /// goes before its data, or if there is no room, into `header`.
    ///
    /// # Errors
    ///
    /// No memory, it cannot be mapped, or it is of a kind that there is no header for. It is not
    /// mapped then.
    #[inline]
    pub fn take(
        &mut self,
        dma: Option<&Device>,
        header: &mut Header,
        map: &mut PacketMap,
    ) -> Result {
        // SAFETY: By the type invariant; `map` has room for what a packet can have.
        to_result(unsafe {
            ffi::shunt_skb_take(self.as_raw(), raw_device(dma), header, &mut map.0)
        })
    }

    /// Takes back what [`Self::take`] mapped, with the same `dma` and what it made of `map`.
    #[inline]
    pub fn unmap(&self, dma: Option<&Device>, map: &mut PacketMap) {
        if dma.is_some() {
            // SAFETY: By the type invariant; what is in `map` is mapped, once.
            unsafe { ffi::shunt_skb_unmap(self.as_raw(), raw_device(dma), &raw const map.0) };
        }
        map.0.count = 0;
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

/// A device's pointer, or null.
pub(crate) fn raw_device(device: Option<&Device>) -> *mut c_void {
    // A `Device` is a transparent `struct device`.
    device.map_or(core::ptr::null_mut(), |device| {
        core::ptr::from_ref(device).cast_mut().cast()
    })
}

/// Where a packet is for the device, as long as it has it.
#[repr(transparent)]
#[derive(Clone, Copy, Default)]
pub struct PacketMap(ffi::RawPacketMap);

impl PacketMap {
    /// Whether the packet begins with its header.
    #[inline]
    pub fn has_header(&self) -> bool {
        self.0.has_header != 0
    }

    /// The pieces of the packet.
    #[inline]
    pub fn pieces(&self) -> &[Segment] {
        let parts = self.0.parts.get(1..=self.0.count as usize);
        parts.unwrap_or_default()
    }

    /// `first`, and the pieces of the packet.
    #[inline]
    pub fn behind(&mut self, first: Segment) -> &[Segment] {
        let [place, ..] = &mut self.0.parts;
        *place = first;
        self.0
            .parts
            .get(..=self.0.count as usize)
            .unwrap_or_default()
    }
}

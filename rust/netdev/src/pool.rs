// SPDX-License-Identifier: GPL-2.0-only

//! Memory for packets that are received.

use crate::{
    ffi,
    operations::{
        Operations,
        Poll, //
    },
    packet::{
        raw_device,
        SkBuff, //
    }, //
};
use core::ptr::NonNull;
use kernel::{
    device,
    ffi::c_void,
    page::PAGE_SIZE,
    prelude::*, //
};
use virtio_spec::net::Header;

/// Pages that are cut into fragments and come back when packets have been read: `struct page_pool`.
///
/// # Invariants
///
/// It is valid, and only who owns the receive queue uses it.
pub struct Pool {
    raw: NonNull<ffi::PagePool>,
    /// Bytes of a fragment.
    bytes: u32,
}

// SAFETY: Any thread may own a pool.
unsafe impl Send for Pool {}

impl Pool {
    /// A pool for the receive queue of this pair, that keeps this number of pages, and lends
    /// fragments of `bytes`, which divide a page. With `dma`, they are mapped for that device.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Safety
    ///
    /// `netdev` is valid and has this pair, and the pool does not outlive it.
    pub(crate) unsafe fn new(
        netdev: *mut ffi::Netdev,
        pair: u32,
        dma: Option<&device::Device>,
        bytes: u32,
        fragments: u32,
    ) -> Result<Self> {
        let pages = fragments * bytes / PAGE_SIZE as u32;
        // SAFETY: As the caller promises.
        let raw = unsafe { ffi::shunt_pool_create(netdev, pair, raw_device(dma), pages.max(1)) };
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
            bytes,
        })
    }

    /// A fragment, and where the device finds it. `None` if there is no memory now.
    #[inline]
    pub fn fragment(&mut self) -> Option<(Fragment, u64)> {
        let mut address = 0;
        // SAFETY: By the type invariant.
        let start =
            unsafe { ffi::shunt_pool_alloc(self.raw.as_ptr(), self.bytes, &raw mut address) };
        // INVARIANT: It was just allocated.
        let fragment = Fragment {
            start: NonNull::new(start)?,
            bytes: self.bytes,
        };
        Some((fragment, address))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. It stays until its last fragment has come back.
        unsafe { ffi::page_pool_destroy(self.raw.as_ptr()) };
    }
}

/// A part of a page of a [`Pool`].
///
/// # Invariants
///
/// It starts there, has that many bytes, and nobody else has it but a device.
pub struct Fragment {
    start: NonNull<c_void>,
    bytes: u32,
}

// SAFETY: Any thread may own a fragment.
unsafe impl Send for Fragment {}

// SAFETY: A shared reference gives access to nothing.
unsafe impl Sync for Fragment {}

impl Fragment {
    fn into_raw(self) -> *mut c_void {
        core::mem::ManuallyDrop::new(self).start.as_ptr()
    }
}

impl Drop for Fragment {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { ffi::shunt_fragment_free(self.start.as_ptr()) };
    }
}

/// How much of a fragment of so many bytes the device may fill, before and behind which it has to
/// leave what a packet needs.
pub fn room(bytes: u32) -> u32 {
    // SAFETY: It only computes.
    unsafe { ffi::shunt_skb_room(bytes) }
}

impl Fragment {
    /// Lets us see `len` bytes that the device wrote from `offset` on, and copies the header that
    /// they begin with. `None` if they are not so many, not in the fragment, or not aligned.
    #[inline]
    pub fn header(&self, offset: u32, len: u32) -> Option<Header> {
        const HEADER: usize = size_of::<Header>();
        if (len as usize) < HEADER || offset.checked_add(len)? > self.bytes {
            return None;
        }
        // SAFETY: The bytes are in the fragment.
        unsafe { ffi::shunt_fragment_receive(self.start.as_ptr(), offset, len) };
        // SAFETY: As above.
        let start = unsafe { self.start.as_ptr().byte_add(offset as usize) }.cast::<u32>();
        if !start.is_aligned() {
            return None;
        }
        let mut header = [0u32; HEADER / 4];
        for (index, word) in header.iter_mut().enumerate() {
            // SAFETY: As above. The device may still write there, so it is read once.
            *word = unsafe { start.add(index).read_volatile() };
        }
        Some(zerocopy::transmute!(header))
    }

    /// A packet of `len` bytes from `offset` on, which [`Self::header`] has let us see.
    ///
    /// # Errors
    ///
    /// `EINVAL`: they are not in the fragment, or no Ethernet header; `ENOMEM`.
    #[inline]
    pub fn into_packet(self, offset: u32, len: u32) -> Result<Received> {
        let end = offset.checked_add(len).ok_or(EINVAL)?;
        // The network stack takes the header from the first fragment, whatever follows.
        if end > room(self.bytes) || len < ETHERNET_HEADER {
            return Err(EINVAL);
        }
        // SAFETY: The fragment has room for that.
        let skb = unsafe { ffi::shunt_skb_build(self.start.as_ptr(), self.bytes, offset, len) };
        let skb = NonNull::new(skb).ok_or(ENOMEM)?;
        // It is part of the packet.
        self.into_raw();
        // SAFETY: It was just made for us.
        Ok(Received(unsafe { SkBuff::from_raw(skb) }))
    }
}

/// Bytes of an Ethernet header.
const ETHERNET_HEADER: u32 = 14;

/// A packet that has been received, from the Ethernet header on.
pub struct Received(SkBuff);

impl Received {
    /// Adds `len` bytes from `offset` on, that the device wrote.
    ///
    /// # Errors
    ///
    /// `EINVAL`: they are not in the fragment, or the packet has too many already.
    #[inline]
    pub fn append(&mut self, fragment: Fragment, offset: u32, len: u32) -> Result {
        let (start, bytes) = (fragment.start.as_ptr(), fragment.bytes);
        if offset.checked_add(len).is_none_or(|end| end > bytes) {
            return Err(EINVAL);
        }
        // SAFETY: The bytes are in the fragment.
        unsafe { ffi::shunt_fragment_receive(start, offset, len) };
        // SAFETY: The packet is ours alone, and the bytes are in the fragment.
        if !unsafe { ffi::shunt_skb_append(self.0.as_raw(), start, bytes, offset, len) } {
            return Err(EINVAL);
        }
        // It is part of the packet.
        fragment.into_raw();
        Ok(())
    }

    /// Its bytes.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "no packet is")]
    pub fn len(&self) -> u32 {
        self.0.len()
    }

    /// Hands it up, from NAPI.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it contradicts what the device says of it.
    #[inline]
    pub fn hand_up<T: Operations>(self, poll: &Poll<'_, T>, header: &Header) -> Result {
        let raw = self.0.into_raw();
        // SAFETY: NAPI runs for this pair; the packet is ours and has an Ethernet header.
        let is_right =
            unsafe { ffi::shunt_skb_receive(poll.device().as_raw(), poll.pair(), raw, header) };
        if is_right {
            Ok(())
        } else {
            Err(EINVAL)
        }
    }
}

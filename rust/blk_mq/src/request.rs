// SPDX-License-Identifier: GPL-2.0-only

//! A request for I/O.

use crate::{
    ffi,
    operations::{
        Operations,
        Table, //
    },
    status::Status, //
};
use core::{
    marker::PhantomData,
    mem::{
        size_of,
        ManuallyDrop, //
    },
    ptr::{
        null_mut,
        NonNull, //
    },
    slice,
};
use kernel::{
    bindings,
    device::Device,
    ffi::c_void,
    prelude::*, //
};
use virtio_ring::segment::Segment;

/// What a request asks for (`enum req_op`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Read data.
    Read,
    /// Write data.
    Write,
    /// Make durable what was written.
    Flush,
    /// Forget sectors.
    Discard,
    /// Fill sectors with zeroes; they may be forgotten for that.
    WriteZeroes {
        /// Sectors may be forgotten (no `REQ_NOUNMAP`).
        may_unmap: bool,
    },
    /// Read the disk's serial number.
    DriverIn,
    /// Nothing that a driver here has asked for.
    Other,
}

/// Segments that are not data: the first and the last one.
const ENDS: usize = 2;

/// What follows a `struct request`. Segments follow it: two, and as many as the tag set was made
/// for.
#[repr(C)]
pub(crate) struct Pdu<P> {
    driver: P,
    mapping: ffi::Mapping,
}

impl<P> Pdu<P> {
    /// Bytes with `segments` segments.
    pub(crate) fn bytes(segments: u16) -> usize {
        size_of::<Self>() + (usize::from(segments) + ENDS) * size_of::<Segment>()
    }

    /// What one with so many bytes is at first.
    pub(crate) fn new(driver: P, bytes: usize) -> Self {
        let segments = bytes.saturating_sub(size_of::<Self>()) / size_of::<Segment>();
        Self {
            driver,
            mapping: ffi::Mapping::with_room(segments.saturating_sub(ENDS) as u32),
        }
    }
}

/// A request that the driver owns. Dropping it fails it.
///
/// # Invariants
///
/// It is started, belongs to a [`TagSet<T>`](crate::TagSet), and nobody else ends it.
pub struct Request<T: Operations> {
    raw: NonNull<bindings::request>,
    _operations: PhantomData<T>,
}

// SAFETY: A request may be ended by any thread; `T::Pdu` is `Send`.
unsafe impl<T: Operations> Send for Request<T> {}

impl<T: Operations> Request<T> {
    /// # Safety
    ///
    /// The invariants hold, and the caller gives the request up.
    pub(crate) unsafe fn from_raw(raw: *mut bindings::request) -> Self {
        Self {
            // SAFETY: A request is not at 0.
            raw: unsafe { NonNull::new_unchecked(raw) },
            _operations: PhantomData,
        }
    }

    /// Gives it up.
    pub(crate) fn into_raw(self) -> *mut bindings::request {
        ManuallyDrop::new(self).raw.as_ptr()
    }

    #[inline]
    fn raw(&self) -> &bindings::request {
        // SAFETY: It exists, by the type invariant; what is read does not change meanwhile.
        unsafe { self.raw.as_ref() }
    }

    #[inline]
    fn whole_pdu(&self) -> *mut Pdu<T::Pdu> {
        // SAFETY: The tag set was made with room for it behind the request.
        unsafe { self.raw.as_ptr().add(1) }.cast()
    }

    /// What it asks for.
    #[inline]
    pub fn operation(&self) -> Operation {
        let flags = self.raw().cmd_flags;
        match flags & ((1 << bindings::REQ_OP_BITS) - 1) {
            bindings::req_op_REQ_OP_READ => Operation::Read,
            bindings::req_op_REQ_OP_WRITE => Operation::Write,
            bindings::req_op_REQ_OP_FLUSH => Operation::Flush,
            bindings::req_op_REQ_OP_DISCARD => Operation::Discard,
            bindings::req_op_REQ_OP_WRITE_ZEROES => Operation::WriteZeroes {
                may_unmap: flags & (1 << bindings::req_flag_bits___REQ_NOUNMAP) == 0,
            },
            bindings::req_op_REQ_OP_DRV_IN => Operation::DriverIn,
            _ => Operation::Other,
        }
    }

    /// The first sector, of 512 bytes.
    #[inline]
    pub fn sector(&self) -> u64 {
        self.raw().__sector
    }

    /// Its length in sectors of 512 bytes.
    #[inline]
    pub fn sectors(&self) -> u32 {
        self.raw().__data_len >> bindings::SECTOR_SHIFT
    }

    /// A number that no other request of the same hardware queue has now, below the depth.
    #[inline]
    pub fn tag(&self) -> usize {
        self.raw().tag as usize
    }

    /// The driver's data of it.
    #[inline]
    pub fn pdu(&self) -> &T::Pdu {
        // SAFETY: `init_request` initialized it; `self` is borrowed.
        unsafe { &(*self.whole_pdu()).driver }
    }

    /// The driver's data of it, to be changed.
    #[inline]
    pub fn pdu_mut(&mut self) -> &mut T::Pdu {
        // SAFETY: `init_request` initialized it; `self` is borrowed.
        unsafe { &mut (*self.whole_pdu()).driver }
    }

    /// Makes its data accessible to `device`, or with none, to something that sees memory as the
    /// CPU does. [`Self::segments`] says where they are.
    ///
    /// # Errors
    ///
    /// No memory or no address is free now, or there are more segments than the tag set was made
    /// for. Nothing is mapped then.
    #[inline]
    pub fn map(&mut self, device: Option<&Device>) -> Result {
        let mapping = self.mapping();
        // SAFETY: The mapping, and what follows it, are ours while we own the request.
        let error = unsafe {
            ffi::shunt_request_map(self.raw.as_ptr().cast(), raw_device(device), mapping)
        };
        if error != 0 {
            return Err(Error::from_errno(error));
        }
        // SAFETY: As above.
        unsafe { (*mapping).count = (*mapping).mapped };
        Ok(())
    }

    /// Has `segment`, if there is one, stand where its data would.
    #[inline]
    pub fn replace(&mut self, segment: Option<Segment>) {
        let mapping = self.mapping();
        // SAFETY: The mapping is ours while we own the request, and so is a segment that there is
        // room for.
        unsafe {
            (*mapping).mapped = 0;
            (*mapping).count = 0;
            if let (Some(segment), 1..) = (segment, (*mapping).room) {
                mapping.add(1).cast::<Segment>().add(1).write(segment);
                (*mapping).count = 1;
            }
        }
    }

    /// Puts `first` before all other segments, and `last` behind them.
    #[inline]
    pub fn surround(&mut self, first: Segment, last: Segment) {
        let mapping = self.mapping();
        // SAFETY: As above; there is room for both.
        unsafe {
            let segments = mapping.add(1).cast::<Segment>();
            segments.write(first);
            segments.add((*mapping).count as usize + 1).write(last);
        }
    }

    /// What was put there by [`Self::map`] or [`Self::replace`], and [`Self::surround`].
    #[inline]
    pub fn segments(&self) -> &[Segment] {
        let mapping = self.mapping();
        // SAFETY: So many are there, which were zero at first; `self` is borrowed meanwhile.
        unsafe {
            let count = (*mapping).count as usize + ENDS;
            slice::from_raw_parts(mapping.add(1).cast::<Segment>(), count)
        }
    }

    #[inline]
    fn mapping(&self) -> *mut ffi::Mapping {
        let pdu = self.whole_pdu();
        // SAFETY: `init_request` initialized it.
        unsafe { &raw mut (*pdu).mapping }
    }

    /// Takes its data back from `device`, the same as in [`Self::map`].
    #[inline]
    pub fn unmap(&mut self, device: Option<&Device>) {
        if device.is_some() {
            let (raw, mapping) = (self.raw.as_ptr().cast(), self.mapping());
            // SAFETY: It was mapped, or the mapping is empty; it is ours as above.
            unsafe { ffi::shunt_request_unmap(raw, raw_device(device), mapping) };
        }
    }

    /// It is done: [`Operations::complete`] gets it, on the CPU that it came from.
    #[inline]
    pub fn complete(self) {
        let raw = self.into_raw();
        // SAFETY: It is started, and we just gave it up.
        if !unsafe { bindings::blk_mq_complete_request_remote(raw) } {
            // SAFETY: Nobody else got it; it has a hardware queue because it is started.
            unsafe { Table::complete_request(Self::from_raw(raw), (*raw).mq_hctx) };
        }
    }

    /// Ends it.
    #[inline]
    pub fn end(self, status: Status) {
        // SAFETY: It is started, and we give it up.
        unsafe { bindings::blk_mq_end_request(self.into_raw(), status.into_raw()) };
    }

    /// Has it queued once more, after [`GenDisk::kick_requeued`](crate::GenDisk::kick_requeued).
    pub fn requeue(self) {
        // SAFETY: It is started, and we give it up.
        unsafe { bindings::blk_mq_requeue_request(self.into_raw(), false) };
    }
}

impl<T: Operations> Drop for Request<T> {
    fn drop(&mut self) {
        let status = Status::IOERR.into_raw();
        // SAFETY: By the type invariant it is ours to end, and this is its end.
        unsafe { bindings::blk_mq_end_request(self.raw.as_ptr(), status) };
    }
}

fn raw_device(device: Option<&Device>) -> *mut c_void {
    // A `Device` is a transparent `struct device`.
    device.map_or(null_mut(), |device| {
        core::ptr::from_ref(device).cast_mut().cast()
    })
}

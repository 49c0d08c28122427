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

/// A piece of a request's memory, as the device addresses it (`struct shunt_segment`).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Segment {
    /// Where it begins.
    pub address: u64,
    /// Its bytes.
    pub length: u32,
    unused: u32,
}

/// What follows a `struct request`. Segments follow it, as many as the tag set was made for.
#[repr(C)]
pub(crate) struct Pdu<P> {
    driver: P,
    mapping: ffi::Mapping,
}

impl<P> Pdu<P> {
    /// Bytes with `segments` segments.
    pub(crate) fn bytes(segments: u16) -> usize {
        size_of::<Self>() + usize::from(segments) * size_of::<Segment>()
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
    /// CPU does. Returns where they are, in at most `max` segments, beside the driver's data.
    /// `max` is at most the number that the tag set was made for.
    ///
    /// # Errors
    ///
    /// No memory or no address is free now, or there are more segments. Nothing is mapped then.
    #[inline]
    pub fn map(&mut self, device: Option<&Device>, max: u16) -> Result<(&[Segment], &mut T::Pdu)> {
        let pdu = self.whole_pdu();
        // SAFETY: The mapping is ours while we own the request.
        let mapping = unsafe { &raw mut (*pdu).mapping };
        let device = raw_device(device);
        // SAFETY: There is room for the segments behind the mapping.
        let error = unsafe {
            ffi::shunt_request_map(self.raw.as_ptr().cast(), device, mapping, max.into())
        };
        if error != 0 {
            return Err(Error::from_errno(error));
        }
        // SAFETY: So many segments were just written, and `self` is borrowed meanwhile.
        let segments = unsafe {
            let count = (*mapping).count as usize;
            slice::from_raw_parts(mapping.add(1).cast::<Segment>(), count)
        };
        Ok((segments, self.pdu_mut()))
    }

    /// Takes its data back from `device`, the same as in [`Self::map`].
    #[inline]
    pub fn unmap(&mut self, device: Option<&Device>) {
        if device.is_some() {
            let pdu = self.whole_pdu();
            // SAFETY: It was mapped, or the mapping is empty; it is ours as above.
            unsafe {
                let mapping = &raw mut (*pdu).mapping;
                ffi::shunt_request_unmap(self.raw.as_ptr().cast(), raw_device(device), mapping);
            }
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

// SPDX-License-Identifier: GPL-2.0-only

//! The requests of a disk.

use crate::{
    operations::{
        Operations,
        Table, //
    },
    request::Pdu,
};
use core::marker::PhantomData;
use kernel::{
    bindings,
    device::Device,
    error::to_result,
    prelude::*,
    sync::Arc,
    types::Opaque, //
};

/// Which hardware queue each CPU submits to (`struct blk_mq_queue_map`).
pub struct QueueMap<'a> {
    raw: &'a mut bindings::blk_mq_queue_map,
}

impl<'a> QueueMap<'a> {
    pub(crate) fn new(raw: &'a mut bindings::blk_mq_queue_map) -> Self {
        Self { raw }
    }

    /// Spreads the CPUs over the queues.
    pub fn spread(&mut self) {
        // SAFETY: The map is complete but for the CPUs.
        unsafe { bindings::blk_mq_map_queues(self.raw) };
    }

    /// Each CPU submits to the queue whose interrupt it gets; that of queue 0 is the device's
    /// vector `first`.
    pub fn follow_interrupts(&mut self, device: &Device, first: u32) {
        let device = core::ptr::from_ref(device).cast_mut().cast();
        // SAFETY: The map is complete but for the CPUs; `device` is a transparent, valid
        // `struct device`.
        unsafe { bindings::blk_mq_map_hw_queues(self.raw, device, first) };
    }
}

/// All requests that there can be, with room for what the driver needs with each
/// (`struct blk_mq_tag_set`).
#[pin_data(PinnedDrop)]
pub struct TagSet<T: Operations> {
    #[pin]
    raw: Opaque<bindings::blk_mq_tag_set>,
    /// The C side refers to it.
    driver: Arc<T>,
    _operations: PhantomData<T>,
}

// SAFETY: All that can be done with it is thread-safe, and its `driver` is `Send` and `Sync`.
unsafe impl<T: Operations> Send for TagSet<T> {}

// SAFETY: As above.
unsafe impl<T: Operations> Sync for TagSet<T> {}

/// What a [`TagSet`] is made for.
pub struct Shape {
    /// Hardware queues.
    pub queues: u32,
    /// Requests of each.
    pub depth: u32,
    /// Segments of a request.
    pub segments: u16,
    /// Seconds after which [`Operations::timeout`] is called.
    pub timeout: u32,
}

impl<T: Operations> TagSet<T> {
    /// Allocates all requests.
    pub fn new(driver: Arc<T>, shape: &Shape) -> impl PinInit<Self, Error> {
        let set = bindings::blk_mq_tag_set {
            ops: &Table::<T>::OPERATIONS,
            nr_hw_queues: shape.queues,
            nr_maps: 1,
            queue_depth: shape.depth,
            cmd_size: Pdu::<T::Pdu>::bytes(shape.segments) as u32,
            numa_node: bindings::NUMA_NO_NODE,
            timeout: shape.timeout.saturating_mul(bindings::HZ),
            driver_data: Arc::as_ptr(&driver).cast_mut().cast(),
            ..pin_init::zeroed()
        };
        try_pin_init!(Self {
            raw <- Opaque::try_ffi_init(move |place: *mut bindings::blk_mq_tag_set| {
                // SAFETY: `place` is ours to write, and stays where it is.
                to_result(unsafe {
                    place.write(set);
                    bindings::blk_mq_alloc_tag_set(place)
                })
            }),
            driver,
            _operations: PhantomData,
        })
    }

    pub(crate) fn as_raw(&self) -> *mut bindings::blk_mq_tag_set {
        self.raw.get()
    }

    /// Waits until no thread is in [`Operations::queue_rq`], and lets none in.
    pub fn quiesce(&self) {
        // SAFETY: The set is initialized.
        unsafe { bindings::blk_mq_quiesce_tagset(self.raw.get()) };
    }

    /// The opposite of [`Self::quiesce`].
    pub fn unquiesce(&self) {
        // SAFETY: The set is initialized.
        unsafe { bindings::blk_mq_unquiesce_tagset(self.raw.get()) };
    }
}

#[pinned_drop]
impl<T: Operations> PinnedDrop for TagSet<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: It was initialized, and each disk on it has gone, because it held this.
        unsafe { bindings::blk_mq_free_tag_set(self.raw.get()) };
    }
}

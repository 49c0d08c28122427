// SPDX-License-Identifier: GPL-2.0-only

//! What a block driver provides.

use crate::{
    request::{
        Pdu,
        Request, //
    },
    status::Status,
    tag_set::QueueMap, //
};
use core::marker::PhantomData;
use kernel::{
    bindings,
    ffi::{
        c_int,
        c_uint,
        c_void, //
    },
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

/// A request that was not queued, and why. Its data are not mapped.
pub struct NotQueued<T: Operations> {
    /// The request, for the block layer to have again.
    pub request: Request<T>,
    /// What becomes of it.
    pub status: Status,
}

/// A driver of disks.
pub trait Operations: Sized + Send + Sync + 'static {
    /// What belongs to one hardware queue.
    type HwQueue: Sync;

    /// What belongs to one request while the driver owns it: at first the default, then what the
    /// driver last made of it.
    type Pdu: Copy + Default + Send;

    /// The hardware queue of this number.
    fn hw_queue(&self, index: usize) -> Option<&Self::HwQueue>;

    /// Assigns CPUs to hardware queues.
    fn map_queues(&self, map: &mut QueueMap<'_>);

    /// Queues a request. If it is not the last of a batch, another one or
    /// [`Self::commit_rqs`] follows.
    ///
    /// # Errors
    ///
    /// The request, which the block layer fails or tries again later.
    fn queue_rq(
        queue: &Self::HwQueue,
        rq: Request<Self>,
        is_last: bool,
    ) -> Result<(), NotQueued<Self>>;

    /// The batch is complete, although its last request was not queued.
    fn commit_rqs(queue: &Self::HwQueue);

    /// Ends a request after [`Request::complete`].
    fn complete(queue: &Self::HwQueue, rq: Request<Self>);

    /// A request has been with the driver for the time-out of its [`TagSet`](crate::TagSet). The
    /// time begins again.
    fn timeout(this: &Arc<Self>, queue: &Self::HwQueue);
}

/// The functions that C calls.
pub(crate) struct Table<T>(PhantomData<T>);

impl<T: Operations> Table<T> {
    pub(crate) const OPERATIONS: bindings::blk_mq_ops = bindings::blk_mq_ops {
        queue_rq: Some(Self::queue_rq),
        commit_rqs: Some(Self::commit_rqs),
        timeout: Some(Self::timeout),
        complete: Some(Self::complete),
        init_hctx: Some(Self::init_hctx),
        init_request: Some(Self::init_request),
        map_queues: Some(Self::map_queues),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// `hctx` went through [`Self::init_hctx`], and its tag set is there during `'a`.
    unsafe fn hw_queue<'a>(hctx: *mut bindings::blk_mq_hw_ctx) -> &'a T::HwQueue {
        // SAFETY: `init_hctx` stored a reference into the driver's data, which the tag set owns.
        unsafe { &*(*hctx).driver_data.cast::<T::HwQueue>() }
    }

    /// # Safety
    ///
    /// Only for `blk_mq_ops` of a [`TagSet<T>`](crate::TagSet), with what the block layer hands to
    /// that function.
    unsafe extern "C" fn init_hctx(
        hctx: *mut bindings::blk_mq_hw_ctx,
        data: *mut c_void,
        index: c_uint,
    ) -> c_int {
        // SAFETY: The tag set's `driver_data` is its `T`.
        let driver = unsafe { &*data.cast::<T>() };
        let Some(queue) = driver.hw_queue(index as usize) else {
            return EINVAL.to_errno();
        };
        // SAFETY: `hctx` is being initialized, by us alone.
        unsafe { (*hctx).driver_data = core::ptr::from_ref(queue).cast_mut().cast() };
        0
    }

    /// # Safety
    ///
    /// As [`Self::init_hctx`].
    unsafe extern "C" fn init_request(
        set: *mut bindings::blk_mq_tag_set,
        rq: *mut bindings::request,
        _queue: c_uint,
        _node: c_int,
    ) -> c_int {
        // SAFETY: There are so many bytes behind the request, which is being initialized, by us
        // alone. What is behind them is zero, as segments may be.
        unsafe {
            let pdu = Pdu::new(T::Pdu::default(), (*set).cmd_size as usize);
            rq.add(1).cast::<Pdu<T::Pdu>>().write(pdu);
        }
        0
    }

    /// # Safety
    ///
    /// As [`Self::init_hctx`].
    unsafe extern "C" fn queue_rq(
        hctx: *mut bindings::blk_mq_hw_ctx,
        bd: *const bindings::blk_mq_queue_data,
    ) -> bindings::blk_status_t {
        // SAFETY: `bd` is valid during the call.
        let (rq, is_last) = unsafe { ((*bd).rq, (*bd).last) };
        // SAFETY: The block layer gives us the request, which has not been started.
        unsafe { bindings::blk_mq_start_request(rq) };
        // SAFETY: As above, and it is started now.
        let rq = unsafe { Request::from_raw(rq) };
        // SAFETY: As the callers of this function promise.
        match T::queue_rq(unsafe { Self::hw_queue(hctx) }, rq, is_last) {
            Ok(()) => Status::OK.into_raw(),
            Err(NotQueued { request, status }) => {
                // The block layer has it again, by our result.
                request.into_raw();
                status.into_raw()
            }
        }
    }

    /// # Safety
    ///
    /// As [`Self::init_hctx`].
    unsafe extern "C" fn commit_rqs(hctx: *mut bindings::blk_mq_hw_ctx) {
        // SAFETY: As the callers of this function promise.
        T::commit_rqs(unsafe { Self::hw_queue(hctx) });
    }

    /// # Safety
    ///
    /// As [`Self::init_hctx`].
    unsafe extern "C" fn complete(rq: *mut bindings::request) {
        // SAFETY: `Request::complete` gave it up for this, and it is one of a queue of this tag set.
        unsafe { Self::complete_request(Request::from_raw(rq), (*rq).mq_hctx) };
    }

    /// # Safety
    ///
    /// `hctx` is that of the request.
    #[inline]
    pub(crate) unsafe fn complete_request(rq: Request<T>, hctx: *mut bindings::blk_mq_hw_ctx) {
        // SAFETY: It has this hardware queue as long as it has not ended.
        T::complete(unsafe { Self::hw_queue(hctx) }, rq);
    }

    /// # Safety
    ///
    /// As [`Self::init_hctx`].
    unsafe extern "C" fn timeout(rq: *mut bindings::request) -> bindings::blk_eh_timer_return {
        // SAFETY: The request belongs to a queue of this tag set during the call, and the set owns
        // a reference to its driver.
        let (driver, queue) = unsafe {
            let set = (*(*rq).q).tag_set;
            let driver = ArcBorrow::from_raw((*set).driver_data.cast::<T>());
            (Arc::from(driver), Self::hw_queue((*rq).mq_hctx))
        };
        T::timeout(&driver, queue);
        bindings::blk_eh_timer_return_BLK_EH_RESET_TIMER
    }

    /// # Safety
    ///
    /// As [`Self::init_hctx`].
    unsafe extern "C" fn map_queues(set: *mut bindings::blk_mq_tag_set) {
        // SAFETY: `set` is valid during the call, its `driver_data` is its `T`, and it has at
        // least one map.
        let (driver, map) = unsafe { (&*(*set).driver_data.cast::<T>(), &mut (*set).map[0]) };
        driver.map_queues(&mut QueueMap::new(map));
    }
}

// SPDX-License-Identifier: GPL-2.0-only

//! Multi-queue block devices: a thin layer over the kernel's `blk-mq`.
//!
//! Linux 7.3's own `kernel::block::mq` has neither data per hardware queue, nor access to what a
//! request wants, nor a way to fail one. The names here are those of the proposals for it.
//!
//! ```text
//! submitted I/O -> Operations::queue_rq(queue, Request, is_last) -> the driver owns the request
//!                  Operations::commit_rqs(queue)                    what was queued before goes out
//! done          -> Request::complete -> Operations::complete, on the CPU that submitted -> Request::end
//! lost          -> Request::requeue  -> Operations::queue_rq once more
//! ```
//!
//! A [`Request`] is owned by exactly one place, so it ends exactly once: a driver that drops one
//! has failed it.
//!
//! This crate is the only place where the block driver touches C. Of virtio it knows what a segment of a
//! buffer is, so that what C says of memory goes into a ring as it is.

mod ffi;
mod gen_disk;
mod limits;
mod operations;
mod request;
mod status;
mod tag_set;

pub use gen_disk::{
    Drained,
    GenDisk, //
};
pub use limits::Limits;
pub use operations::{
    NotQueued,
    Operations, //
};
pub use request::{
    Operation,
    Request, //
};
pub use status::Status;
pub use tag_set::{
    QueueMap,
    Shape,
    TagSet, //
};

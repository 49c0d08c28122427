// SPDX-License-Identifier: GPL-2.0-only

//! What goes to the device for a request: section 5.2.6.
//!
//! Header, status byte, range and table of each tag are in memory that the device has had since
//! the queue was made, so a request needs no memory, and none but its data has to be mapped:
//!
//! ```text
//! offset  0  header       the device reads it
//!        16  status       the device writes it
//!        32  range        the device reads it, to discard or to write zeroes
//!        64  descriptors  one for each segment, with VIRTIO_F_INDIRECT_DESC
//! ```

use super::{
    queue::Queue,
    Device, //
};
use blk_mq::{
    Operation,
    Request,
    Status, //
};
use core::mem::{
    offset_of,
    size_of, //
};
use kernel::{
    device,
    prelude::*, //
};
use virtio_ring::{
    memory::Memory,
    segment::{
        Parts,
        Segment, //
    }, //
};
use virtio_spec::{
    blk::{
        self,
        Header,
        Range, //
    },
    split::DESCRIPTOR, //
};
use virtio_transport::{
    DmaView,
    Transport, //
};

/// Most segments of data.
pub(super) const MAX_SEGMENTS: u16 = 62;

/// With the header and the status.
const MAX_PARTS: usize = MAX_SEGMENTS as usize + 2;

/// Most segments of data with a queue of this size, which no chain exceeds: sections 2.7.5.3.1 and
/// 2.8.5. `None` if not even one fits.
pub(super) fn most_segments(queue_size: u32) -> Option<u16> {
    let most = queue_size.checked_sub(2)?.min(MAX_SEGMENTS.into());
    (most > 0).then_some(most as u16)
}

const STATUS: usize = size_of::<Header>();
const RANGE: usize = 2 * size_of::<Header>();
/// Where the table of a tag begins in its memory.
pub(super) const TABLE: usize = 64;

/// Bytes that belong to a tag.
pub(super) const TAG_BYTES: usize = TABLE + DESCRIPTOR * MAX_PARTS;

/// No status: the device has to write one.
const PENDING: u8 = 0xff;

/// What the driver keeps of a request.
#[derive(Clone, Copy)]
pub(super) struct Pdu {
    /// Whether the device writes its data.
    is_read: bool,
    /// What the device answered.
    status: u8,
}

impl Default for Pdu {
    fn default() -> Self {
        Self {
            is_read: false,
            status: PENDING,
        }
    }
}

/// Where the request is: its header, its data and its status.
#[inline]
pub(super) fn parts<T: Transport>(request: &Request<Device<T>>) -> Parts<'_> {
    let segments = request.segments();
    let readable = match request.pdu().is_read {
        true => 1,
        false => segments.len().wrapping_sub(1),
    };
    let (readable, writable) = segments.split_at_checked(readable).unwrap_or_default();
    Parts { readable, writable }
}

/// A request in the words of the device.
struct Command {
    kind: u32,
    sector: u64,
    /// What goes with it, between header and status.
    data: Data,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Data {
    /// Nothing.
    None,
    /// The request's data, which the device reads.
    Out,
    /// The request's data, which the device writes.
    In,
    /// A range of sectors, with these flags.
    Range(u32),
}

impl Command {
    #[inline]
    fn of<T: Transport>(request: &Request<Device<T>>) -> Option<Self> {
        let (kind, data) = match request.operation() {
            Operation::Read => (blk::request::IN, Data::In),
            Operation::Write => (blk::request::OUT, Data::Out),
            Operation::Flush => (blk::request::FLUSH, Data::None),
            Operation::Discard => (blk::request::DISCARD, Data::Range(0)),
            Operation::WriteZeroes { may_unmap } => {
                let flags = if may_unmap { blk::UNMAP } else { 0 };
                (blk::request::WRITE_ZEROES, Data::Range(flags))
            }
            Operation::DriverIn => (blk::request::GET_ID, Data::In),
            Operation::Other => return None,
        };
        let sector = match kind {
            blk::request::IN | blk::request::OUT => request.sector(),
            _ => 0,
        };
        Some(Self { kind, sector, data })
    }
}

/// Writes what the device has to know of a request into its tag's memory, maps its data for `dma`,
/// and notes where all of it is.
///
/// # Errors
///
/// What becomes of the request, of which nothing is mapped.
#[inline]
pub(super) fn prepare<T: Transport>(
    memory: &DmaView<'_>,
    dma: Option<&device::Device>,
    request: &mut Request<Device<T>>,
) -> Result<(), Status> {
    let command = Command::of(request).ok_or(Status::NOTSUPP)?;
    memory.store32(offset_of!(Header, kind), command.kind);
    memory.store64(offset_of!(Header, sector), command.sector);
    memory.store64(STATUS, PENDING.into());
    let header = memory.address();
    match command.data {
        Data::In | Data::Out => request.map(dma).map_err(why_not_mapped)?,
        Data::None => request.replace(None),
        Data::Range(flags) => {
            describe_range(memory, request, flags);
            request.replace(Some(Segment {
                address: header.wrapping_add(RANGE as u64),
                length: size_of::<Range>() as u32,
            }));
        }
    }
    request.pdu_mut().is_read = command.data == Data::In;
    let first = Segment {
        address: header,
        length: size_of::<Header>() as u32,
    };
    let last = Segment {
        address: header.wrapping_add(STATUS as u64),
        length: 1,
    };
    request.surround(first, last);
    Ok(())
}

#[cold]
fn why_not_mapped(error: Error) -> Status {
    match error {
        EIO => Status::IOERR,
        _ => Status::RESOURCE,
    }
}

fn describe_range<T: Transport>(memory: &DmaView<'_>, request: &Request<Device<T>>, flags: u32) {
    memory.store64(RANGE + offset_of!(Range, sector), request.sector());
    memory.store32(RANGE + offset_of!(Range, num_sectors), request.sectors());
    memory.store32(RANGE + offset_of!(Range, flags), flags);
}

/// Notes what the device answered, once and for all.
#[inline]
pub(super) fn take_status<T: Transport>(queue: &Queue<T>, request: &mut Request<Device<T>>) {
    let memory = queue.tag(request.tag());
    request.pdu_mut().status = memory.map_or(PENDING, |(memory, _)| memory.load8(STATUS));
}

/// What that means.
#[inline]
pub(super) fn status<T: Transport>(request: &Request<Device<T>>) -> Status {
    match request.pdu().status {
        blk::status::OK => Status::OK,
        blk::status::UNSUPP => Status::NOTSUPP,
        _ => Status::IOERR,
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The words of a slot.
//!
//! ```text
//! word 0  stamp: 1 + position of the access; stored last
//!      1  bits 0-7: 0 read, 1 write; 8-15: log2 of the width; 16: a completion is expected;
//!         32-63: vCPU
//!      2  request: number of the access among those of its vCPU that expect a completion
//!      3  user_data of the region
//!      4  offset in the region
//!      5  data of a write, zero-extended
//!      6, 7  not used
//! ```

use crate::memory::Memory;
use ioregion_wire::frame::{
    BadCommand,
    Command,
    Operation,
    Width, //
};

const STAMP: usize = 0;
/// Where the words begin that the stamp is for: kind, request, user data, offset, data.
const WORDS: usize = 8;

const WRITE: u64 = 1;
const EXPECTS_COMPLETION: u64 = 1 << 16;

/// An access in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// What it asks for.
    pub command: Command,
    /// Which vCPU makes it.
    pub vcpu: u32,
    /// Names the completion; 0 if none is expected.
    pub request: u64,
}

/// Says that a slot holds the access at `position`. It wraps: a device begins at whatever position
/// its predecessor left.
#[inline]
const fn stamp(position: u64) -> u64 {
    position.wrapping_add(1)
}

/// Stores all words but the stamp, then the stamp of `position`.
#[inline(always)]
pub(crate) fn publish<M: Memory>(memory: &M, at: usize, position: u64, access: &Access) {
    let Command {
        operation,
        width,
        expects_reply,
        user_data,
        offset,
    } = access.command;
    let (kind, data) = match operation {
        Operation::Read => (0, 0),
        Operation::Write(data) => (WRITE, width.mask(data)),
    };
    let expects = match expects_reply {
        true => EXPECTS_COMPLETION,
        false => 0,
    };
    let kind = kind | (width as u64) << 8 | expects | u64::from(access.vcpu) << 32;
    let words = [kind, access.request, user_data, offset, data];
    memory.store_words(at.wrapping_add(WORDS), words);
    memory.store_release(at.wrapping_add(STAMP), stamp(position));
}

/// The access at `position`, if it has been published.
#[inline]
pub(crate) fn read<M: Memory>(
    memory: &M,
    at: usize,
    position: u64,
) -> Option<Result<Access, BadCommand>> {
    is_published(memory, at, position).then(|| parse(memory, at))
}

/// Whether the slot holds the access at `position`.
#[inline]
pub(crate) fn is_published<M: Memory>(memory: &M, at: usize, position: u64) -> bool {
    memory.load_acquire(at + STAMP) == stamp(position)
}

#[inline]
fn parse<M: Memory>(memory: &M, at: usize) -> Result<Access, BadCommand> {
    let [kind, request, user_data, offset, data] = memory.load_words(at + WORDS);
    let exponent = (kind >> 8) as u8;
    let width = Width::from_exponent(exponent).ok_or(BadCommand::SizeExponent(exponent))?;
    let expects_reply = kind & EXPECTS_COMPLETION != 0;
    let operation = match kind as u8 {
        0 if !expects_reply => return Err(BadCommand::ReadWithoutReply),
        0 => Operation::Read,
        1 => Operation::Write(width.mask(data)),
        other => return Err(BadCommand::Operation(other)),
    };
    Ok(Access {
        command: Command {
            operation,
            width,
            expects_reply,
            user_data,
            offset,
        },
        vcpu: (kind >> 32) as u32,
        request,
    })
}

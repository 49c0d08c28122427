// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Values out of bytes.

use ioregion_wire::frame::{
    Command,
    Operation,
    Width, //
};

/// Bytes that are used up from the front. Past their end there are zeroes.
pub struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    /// All of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether there are no more bytes.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let (now, rest) = self.bytes.split_at(self.bytes.len().min(N));
        array[..now.len()].copy_from_slice(now);
        self.bytes = rest;
        array
    }

    /// The next byte.
    pub fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    /// The next 8 bytes, lowest first.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// A number below `end`, from one byte; 0 if there is none.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.u8()).checked_rem(end).unwrap_or(0)
    }

    /// A number that is likely to be at an edge of something: a small one, one just below
    /// 2^64, one around a power of two, or any.
    pub fn edgy(&mut self) -> u64 {
        let small = |byte: u8| u64::from(byte & 0x3f);
        match self.u8() {
            byte @ 0..=0x7f => small(byte),
            byte @ 0x80..=0xbf => u64::MAX - small(byte),
            byte @ 0xc0..=0xef => (1u64 << small(byte))
                .wrapping_add(small(self.u8()))
                .wrapping_sub(32),
            _ => self.u64(),
        }
    }

    /// Any width of an access.
    pub fn width(&mut self) -> Width {
        [Width::Byte, Width::Word, Width::Long, Width::Quad][self.below(4)]
    }

    /// Any command, as the kernel makes it: data of the width, and a reply for every read.
    pub fn command(&mut self) -> Command {
        let (kind, width) = (self.u8(), self.width());
        let operation = match kind & 1 {
            0 => Operation::Read,
            _ => Operation::Write(width.mask(self.edgy())),
        };
        Command {
            operation,
            width,
            expects_reply: kind & 2 != 0 || operation == Operation::Read,
            user_data: self.edgy(),
            offset: self.edgy(),
        }
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Event suppression of a packed virtqueue: section 2.8.14.

use crate::{
    memory::Memory,
    position::Position, //
};
use virtio_spec::packed::{
    DESC,
    DISABLE,
    ENABLE, //
};

/// Which events a side asks the other one for. A structure of both halves is one word, so that
/// neither half is seen without the other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    /// None.
    Nothing,
    /// All.
    Everything,
    /// When the descriptor at a position has been made available, or used.
    At(Position),
}

/// Asks, in the side's own area.
pub(crate) fn ask<M: Memory>(own: &M, wanted: Wanted) {
    let (off_wrap, flags) = match wanted {
        Wanted::Nothing => (0, DISABLE),
        Wanted::Everything => (0, ENABLE),
        Wanted::At(position) => (position.off_wrap(), DESC),
    };
    own.store32(0, u32::from(off_wrap) | u32::from(flags) << 16);
}

/// Whether the other side, whose area this is, asks to be told of the `count` descriptors before
/// `position`. Flags that mean nothing ask for everything.
#[inline]
pub(crate) fn is_due<M: Memory>(others: &M, position: Position, count: u16, size: u16) -> bool {
    let word = others.load32(0);
    match (word >> 16) as u16 {
        DISABLE => false,
        DESC => position.has_passed(word as u16, count, size),
        _ => true,
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What there is in a virtqueue, as a plain reading of the specification has it.

use super::areas::{
    Queue,
    MAX_SIZE, //
};
use crate::outcome::{
    hold,
    Broken, //
};
use virtio_ring::{
    device::{
        Chain,
        Settings,
        Tables, //
    },
    memory::{
        Areas,
        Memory, //
    },
    segment::Segment,
};
use virtio_spec::{
    features::Features,
    split::{
        INDEX,
        INDIRECT,
        NEXT,
        RING,
        WRITE, //
    },
};

/// What a plain reading of the specification makes of the memory.
pub(super) struct Walker<'q> {
    queue: &'q Queue,
    settings: Settings,
    /// Where the next chain is: how many entries or descriptors there were before.
    next: u64,
    /// The available index when it was last needed.
    seen: u16,
    is_broken: bool,
}

/// What there is to pop.
pub(super) enum Next {
    /// Nothing.
    Nothing,
    /// A chain.
    Chain(Plain),
    /// Something that is not allowed.
    Wrong,
}

/// A chain, read plainly.
pub(super) struct Plain {
    /// Most segments.
    limit: usize,
    segments: [Segment; MAX_SIZE],
    readable: usize,
    count: usize,
    /// Descriptors in the ring.
    taken: u64,
}

impl<'q> Walker<'q> {
    /// One at the beginning of the queue.
    pub(super) const fn new(queue: &'q Queue, settings: Settings) -> Self {
        Self {
            queue,
            settings,
            next: 0,
            seen: 0,
            is_broken: false,
        }
    }

    /// What there is to pop now.
    pub(super) fn look(&mut self) -> Next {
        if self.is_broken {
            return Next::Wrong;
        }
        let is_there = match self.settings.features.has(Features::RING_PACKED) {
            true => Some(self.is_available()),
            false => self.look_at_index(),
        };
        match is_there {
            None => Next::Wrong,
            Some(false) => Next::Nothing,
            Some(true) => self.walk().map_or(Next::Wrong, Next::Chain),
        }
    }

    /// The chain has been popped.
    pub(super) fn step(&mut self, plain: &Plain) {
        self.next += plain.taken;
    }

    /// The ring says that something is wrong.
    pub(super) fn stop(&mut self) {
        self.is_broken = true;
    }

    /// Whether a split ring has something, if its index can be true.
    fn look_at_index(&mut self) -> Option<bool> {
        let next = self.next as u16;
        if self.seen == next {
            self.seen = self.queue.for_nobody().driver.load16(INDEX);
        }
        let ahead = self.seen.wrapping_sub(next);
        (ahead <= self.settings.size).then_some(ahead != 0)
    }

    /// Whether the next descriptor of a packed ring is available: in even rounds its flag for
    /// that is set, and that for used is not; in odd ones it is the other way round.
    fn is_available(&self) -> bool {
        let size = u64::from(self.settings.size);
        let at = 16 * (self.next % size) as usize + 14;
        let flags = self.queue.for_nobody().descriptors.load16(at);
        let wanted = [0x80, 0x8000][(self.next / size % 2) as usize];
        flags & 0x8080 == wanted
    }

    /// The next chain, if it is one.
    fn walk(&self) -> Option<Plain> {
        let Areas {
            descriptors,
            driver,
            ..
        } = self.queue.for_nobody();
        let size = self.settings.size;
        let is_packed = self.settings.features.has(Features::RING_PACKED);
        let entry = (self.next % u64::from(size)) as u16;
        let mut index = match is_packed {
            true => entry,
            false => driver.load16(RING + 2 * usize::from(entry)),
        };
        let mut plain = Plain::new(size);
        for in_ring in 1..=size {
            if index >= size {
                return None;
            }
            plain.taken = if is_packed { in_ring.into() } else { 1 };
            let words = descriptors.load64_pair(16 * usize::from(index));
            let (flags, next) = flags_and_next(words, is_packed);
            if flags & INDIRECT != 0 {
                return self.walk_table(plain, words, flags);
            }
            plain.push(words, flags)?;
            if flags & NEXT == 0 {
                return plain.within_32_bits();
            }
            index = if is_packed { (index + 1) % size } else { next };
        }
        None
    }

    /// The chain whose last descriptor is this one, of a table.
    fn walk_table(&self, mut plain: Plain, table: [u64; 2], flags: u16) -> Option<Plain> {
        let entries = self.entries(table[1] as u32, flags)?;
        let is_packed = self.settings.features.has(Features::RING_PACKED);
        let mut index = 0;
        while index < entries {
            let at = table[0].checked_add(16 * u64::from(index))?;
            let words = self.queue.descriptor(at)?;
            let (flags, next) = flags_and_next(words, is_packed);
            if !is_packed && flags & INDIRECT != 0 {
                return None;
            }
            plain.push(words, flags)?;
            index = if is_packed { index + 1 } else { next };
            let is_last = if is_packed {
                index == entries
            } else {
                flags & NEXT == 0
            };
            if is_last {
                return plain.within_32_bits();
            }
        }
        None
    }

    /// Entries of a table of such a length, if it is allowed.
    fn entries(&self, length: u32, flags: u16) -> Option<u16> {
        let is_allowed = self.settings.features.has(Features::INDIRECT_DESC) && flags & NEXT == 0;
        let entries = (1..=self.settings.size).find(|&entries| u32::from(entries) * 16 == length);
        entries.filter(|_| is_allowed)
    }
}

fn flags_and_next(words: [u64; 2], is_packed: bool) -> (u16, u16) {
    let [low, high] = [(words[1] >> 32) as u16, (words[1] >> 48) as u16];
    match is_packed {
        true => (high, 0),
        false => (low, high),
    }
}

impl Plain {
    const fn new(size: u16) -> Self {
        Self {
            limit: size as usize,
            segments: [const {
                Segment {
                    address: 0,
                    length: 0,
                }
            }; MAX_SIZE],
            readable: 0,
            count: 0,
            taken: 0,
        }
    }

    fn push(&mut self, words: [u64; 2], flags: u16) -> Option<()> {
        let place = self.segments[..self.limit].get_mut(self.count);
        *place? = Segment {
            address: words[0],
            length: words[1] as u32,
        };
        let is_readable = flags & WRITE == 0;
        if is_readable && self.readable < self.count {
            return None;
        }
        self.count += 1;
        self.readable += usize::from(is_readable);
        Some(())
    }

    fn within_32_bits(self) -> Option<Self> {
        let lengths = self.segments.iter().map(|it| u64::from(it.length));
        (lengths.sum::<u64>() <= u32::MAX.into()).then_some(self)
    }

    /// # Errors
    ///
    /// The promise that does not hold.
    pub(super) fn compare(&self, chain: &Chain, segments: &[Segment]) -> Result<(), Broken> {
        let counts = (chain.readable, chain.readable + chain.writable);
        hold(
            counts == (self.readable, self.count),
            "a chain has its segments",
        )?;
        hold(
            segments[..self.count] == self.segments[..self.count],
            "a segment is as its descriptor says",
        )?;
        let room = self.segments[self.readable..self.count].iter();
        let room: u64 = room.map(|it| u64::from(it.length)).sum();
        hold(
            u64::from(chain.room) == room,
            "the room is what can be written",
        )
    }
}

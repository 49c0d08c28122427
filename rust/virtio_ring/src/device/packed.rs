// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The device's side of a packed virtqueue: section 2.8.

use super::{
    walk::{
        Descriptor,
        Walk, //
    },
    BadRing,
    Broken,
    Chain,
    Progress,
    Settings,
    Tables, //
};
use crate::{
    event::{
        self,
        Wanted, //
    },
    memory::{
        Areas,
        Memory, //
    },
    position::Position,
    segment::Segment,
};
use virtio_spec::{
    features::Features,
    packed::DESCRIPTOR,
    split::{
        INDIRECT,
        NEXT, //
    },
};

/// The device's side of a packed virtqueue.
#[derive(Debug)]
pub struct Packed<M> {
    areas: Areas<M>,
    settings: Settings,
    /// Where the next buffer is.
    next_avail: Position,
    /// Where the next buffer goes back.
    next_used: Position,
    /// What was completed last and is not in the ring yet.
    last: Option<Used>,
    /// The first of what was completed, which makes the driver see the rest.
    held_back: Option<Used>,
    /// Descriptors completed since the last publication.
    completed: u16,
    broken: Option<Broken>,
}

/// A used descriptor to be.
#[derive(Clone, Copy, Debug)]
struct Used {
    at: Position,
    id: u16,
    length: u32,
    /// In order, one that stands for this one too may take its place.
    is_full: bool,
}

impl Used {
    /// Offset and value of its second word; the first one does not matter.
    #[inline(always)]
    fn second_word(&self) -> (usize, u64) {
        let flags = self.at.used();
        let word = u64::from(self.length) | u64::from(self.id) << 32 | u64::from(flags) << 48;
        (second_word(self.at), word)
    }
}

/// Offset of the second word of the descriptor at a position.
#[inline(always)]
fn second_word(position: Position) -> usize {
    DESCRIPTOR
        .wrapping_mul(position.offset().into())
        .wrapping_add(8)
}

impl<M: Memory> Packed<M> {
    pub(super) fn new(settings: Settings, areas: Areas<M>) -> Result<Self, BadRing> {
        settings.check_packed(&areas)?;
        Ok(Self {
            areas,
            settings,
            next_avail: Position::START,
            next_used: Position::START,
            last: None,
            held_back: None,
            completed: 0,
            broken: None,
        })
    }

    pub(super) fn resume(
        settings: Settings,
        areas: Areas<M>,
        progress: Progress,
    ) -> Result<Self, BadRing> {
        let mut ring = Self::new(settings, areas)?;
        let Progress { at, step } = progress;
        let size = ring.settings.size;
        let position = Position::in_ring(at ^ Position::START.off_wrap(), size);
        let position = position.filter(|_| step <= size);
        ring.next_avail = position.ok_or(BadRing::Progress(progress.to_word()))?;
        // A buffer that is not there any more was used; perhaps there is another one by now.
        if ring.available().is_none() {
            ring.next_avail.advance(step, size);
        }
        ring.next_used = ring.next_avail;
        Ok(ring)
    }

    #[inline]
    pub(super) const fn progress(&self, step: u16) -> Progress {
        Progress {
            at: self.next_used.off_wrap() ^ Position::START.off_wrap(),
            step,
        }
    }

    /// Descriptors of a buffer in the ring.
    #[inline]
    pub(super) const fn step(&self, chain: &Chain) -> u16 {
        chain.count
    }

    pub(super) fn next(&self) -> u16 {
        self.next_avail.offset()
    }

    pub(super) fn head(&self) -> Option<u16> {
        self.available().map(|_| self.next())
    }

    #[inline]
    pub(super) fn pop<G: Tables>(
        &mut self,
        tables: &G,
        segments: &mut [Segment],
    ) -> Result<Option<Chain>, Broken> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let Some(word) = self.available() else {
            return Ok(None);
        };
        match self.chain(word, tables, segments) {
            Ok(chain) => {
                self.next_avail.advance(chain.count, self.settings.size);
                Ok(Some(chain))
            }
            Err(broken) => {
                self.broken = Some(broken);
                Err(broken)
            }
        }
    }

    /// The second word of the next descriptor, if that is available.
    #[inline]
    fn available(&self) -> Option<u64> {
        let at = second_word(self.next_avail);
        let word = self.areas.descriptors.load64_acquire(at);
        let is_available = self.next_avail.is_available((word >> 48) as u16);
        is_available.then_some(word)
    }

    /// The buffer whose first descriptor has this second word. Each descriptor is read once.
    #[inline]
    fn chain<G: Tables>(
        &self,
        mut word: u64,
        tables: &G,
        segments: &mut [Segment],
    ) -> Result<Chain, Broken> {
        let memory = &self.areas.descriptors;
        let mut walk = Walk::new(segments, self.settings.size);
        let mut position = self.next_avail;
        for count in 1..=self.settings.size {
            let address = memory.load64(second_word(position).wrapping_sub(8));
            let descriptor = Descriptor::packed([address, word]);
            // The last one has the id: section 2.8.6.
            let id = (word >> 32) as u16;
            if descriptor.flags & INDIRECT != 0 {
                walk.packed_table(tables, &descriptor, self.settings.longest_table())?;
                return walk.chain(id, count);
            }
            walk.push(&descriptor)?;
            if descriptor.flags & NEXT == 0 {
                return walk.chain(id, count);
            }
            position.advance(1, self.settings.size);
            word = memory.load64(second_word(position));
        }
        Err(Broken::Long(self.settings.size.into()))
    }

    #[inline]
    pub(super) fn complete(&mut self, chain: &Chain, length: u32) {
        let at = match self.last.take() {
            // One stands for all before it that were written in full: section 2.8.8.
            Some(last) if last.is_full => last.at,
            Some(last) => {
                self.put(last);
                self.next_used
            }
            None => self.next_used,
        };
        self.last = Some(Used {
            at,
            id: chain.id,
            length,
            is_full: self.settings.features.has(Features::IN_ORDER) && length == chain.room,
        });
        self.next_used.advance(chain.count, self.settings.size);
        self.completed = self.completed.wrapping_add(chain.count);
    }

    /// The driver looks at descriptors in turn, so it suffices to hold back the first one.
    #[inline]
    fn put(&mut self, used: Used) {
        if self.held_back.is_none() {
            self.held_back = Some(used);
            return;
        }
        let (at, word) = used.second_word();
        self.areas.descriptors.store64(at, word);
    }

    #[inline]
    pub(super) fn publish(&mut self) -> bool {
        if let Some(last) = self.last.take() {
            self.put(last);
        }
        let Some(first) = self.held_back.take() else {
            return false;
        };
        let completed = core::mem::take(&mut self.completed);
        let (at, word) = first.second_word();
        self.areas.descriptors.store64_release(at, word);
        // The driver either sees the descriptor, or has asked for an interrupt before.
        self.areas.descriptors.full_barrier();
        event::is_due(
            &self.areas.driver,
            self.next_used,
            completed,
            self.settings.size,
        )
    }

    pub(super) fn enable_notifications(&mut self) -> bool {
        let wanted = match self.settings.features.has(Features::EVENT_IDX) {
            true => Wanted::At(self.next_avail),
            false => Wanted::Everything,
        };
        event::ask(&self.areas.device, wanted);
        // Either the driver sees that, or its descriptor is seen now.
        self.areas.device.full_barrier();
        self.broken.is_some() || self.available().is_some()
    }

    pub(super) fn disable_notifications(&mut self) {
        event::ask(&self.areas.device, Wanted::Nothing);
    }
}

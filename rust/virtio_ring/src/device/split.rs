// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The device's side of a split virtqueue: section 2.7.

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
    memory::{
        Areas,
        Memory, //
    },
    segment::Segment,
};
use virtio_spec::{
    features::Features,
    split::{
        avail_event,
        is_event_due,
        used_event,
        AVAILABLE,
        DESCRIPTOR,
        FLAGS,
        INDEX,
        INDIRECT,
        NEXT,
        NO_INTERRUPT,
        NO_NOTIFY,
        RING,
        USED, //
    },
};

/// The device's side of a split virtqueue.
#[derive(Debug)]
pub struct Split<M> {
    areas: Areas<M>,
    settings: Settings,
    /// Available index of the next buffer.
    popped: u16,
    /// Available index as last read.
    seen: u16,
    /// Used index of the next buffer.
    completed: u16,
    /// Used index that the driver sees.
    published: u16,
    /// In order: whether the last entry may give way to one that stands for both.
    batch: Option<u16>,
    broken: Option<Broken>,
}

impl<M: Memory> Split<M> {
    pub(super) fn new(settings: Settings, areas: Areas<M>) -> Result<Self, BadRing> {
        settings.check_split(&areas)?;
        Ok(Self {
            areas,
            settings,
            popped: 0,
            seen: 0,
            completed: 0,
            published: 0,
            batch: None,
            broken: None,
        })
    }

    pub(super) fn resume(
        settings: Settings,
        areas: Areas<M>,
        Progress { at, step }: Progress,
    ) -> Result<Self, BadRing> {
        let mut ring = Self::new(settings, areas)?;
        let next = at.wrapping_add(step);
        let is_done = ring.areas.device.load16(INDEX) == next;
        let index = if is_done { next } else { at };
        ring.popped = index;
        ring.seen = index;
        ring.completed = index;
        ring.published = index;
        Ok(ring)
    }

    #[inline]
    pub(super) const fn progress(&self, step: u16) -> Progress {
        Progress {
            at: self.completed,
            step,
        }
    }

    /// Entries of a buffer in the used ring.
    #[inline]
    pub(super) const fn step(&self, _: &Chain) -> u16 {
        1
    }

    pub(super) fn next(&self) -> u16 {
        self.entry(self.popped) as u16
    }

    pub(super) fn head(&self) -> Option<u16> {
        let is_there = self.areas.driver.load16_acquire(INDEX) != self.popped;
        is_there.then(|| self.areas.driver.load16(self.available(self.popped)))
    }

    #[inline]
    pub(super) fn pop<G: Tables>(
        &mut self,
        tables: &G,
        segments: &mut [Segment],
    ) -> Result<Option<Chain>, Broken> {
        if self.popped == self.seen && !self.look()? {
            return Ok(None);
        }
        match self.chain(tables, segments) {
            Ok(chain) => {
                self.popped = self.popped.wrapping_add(1);
                Ok(Some(chain))
            }
            Err(broken) => Err(self.break_off(broken)),
        }
    }

    /// Reads the available index. Whether there is something to pop.
    fn look(&mut self) -> Result<bool, Broken> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let before = self.popped;
        let claimed = self.areas.driver.load16_acquire(INDEX);
        if claimed.wrapping_sub(before) > self.settings.size {
            return Err(self.break_off(Broken::Index { claimed, before }));
        }
        self.seen = claimed;
        Ok(claimed != before)
    }

    /// The next available buffer, of which each descriptor is read once.
    #[inline]
    fn chain<G: Tables>(&self, tables: &G, segments: &mut [Segment]) -> Result<Chain, Broken> {
        let head = self.areas.driver.load16(self.available(self.popped));
        let mut walk = Walk::new(segments, self.settings.size);
        let mut index = head;
        for count in 1..=self.settings.size {
            let descriptor = self.descriptor(index)?;
            if descriptor.flags & INDIRECT != 0 {
                walk.split_table(tables, &descriptor, self.settings.longest_table())?;
                return walk.chain(head, count);
            }
            walk.push(&descriptor)?;
            if descriptor.flags & NEXT == 0 {
                return walk.chain(head, count);
            }
            index = descriptor.next;
        }
        Err(Broken::Long(self.settings.size.into()))
    }

    #[inline]
    fn descriptor(&self, index: u16) -> Result<Descriptor, Broken> {
        let size = self.settings.size;
        if index >= size {
            return Err(Broken::Descriptor { index, size });
        }
        let at = DESCRIPTOR.wrapping_mul(index.into());
        Ok(Descriptor::split(self.areas.descriptors.load64_pair(at)))
    }

    /// Where the available ring has the entry of an index.
    #[inline(always)]
    fn available(&self, index: u16) -> usize {
        RING.wrapping_add(AVAILABLE.wrapping_mul(self.entry(index)))
    }

    /// Which entry of a ring an index is for.
    #[inline(always)]
    fn entry(&self, index: u16) -> usize {
        usize::from(index & self.settings.size.wrapping_sub(1))
    }

    #[inline]
    pub(super) fn complete(&mut self, chain: &Chain, length: u32) {
        // In order, an entry stands for all before it that were written in full: section 2.7.9.
        let at = self.batch.take().unwrap_or(self.completed);
        let entry = RING.wrapping_add(USED.wrapping_mul(self.entry(at)));
        self.areas.device.store32(entry, chain.id.into());
        self.areas.device.store32(entry.wrapping_add(4), length);
        self.completed = self.completed.wrapping_add(1);
        if self.settings.features.has(Features::IN_ORDER) && length == chain.room {
            self.batch = Some(at);
        }
    }

    #[inline]
    pub(super) fn publish(&mut self) -> bool {
        let (old, new) = (self.published, self.completed);
        if new == old {
            return false;
        }
        self.published = new;
        self.batch = None;
        let Areas { driver, device, .. } = &self.areas;
        device.store16_release(INDEX, new);
        // The driver either sees the index, or has asked for an interrupt before: 2.7.7.2.
        device.full_barrier();
        match self.settings.features.has(Features::EVENT_IDX) {
            true => is_event_due(driver.load16(used_event(self.settings.size)), new, old),
            false => driver.load16(FLAGS) & NO_INTERRUPT == 0,
        }
    }

    #[cold]
    fn break_off(&mut self, broken: Broken) -> Broken {
        self.broken = Some(broken);
        self.seen = self.popped;
        broken
    }

    pub(super) fn enable_notifications(&mut self) -> bool {
        let Areas { driver, device, .. } = &self.areas;
        match self.settings.features.has(Features::EVENT_IDX) {
            true => device.store16(avail_event(self.settings.size), self.popped),
            false => device.store16(FLAGS, 0),
        }
        // Either the driver sees that, or its index is seen now.
        device.full_barrier();
        self.broken.is_some() || driver.load16(INDEX) != self.popped
    }

    pub(super) fn disable_notifications(&mut self) {
        let device = &self.areas.device;
        match self.settings.features.has(Features::EVENT_IDX) {
            // The flag must stay clear; an index that was passed is as good.
            true => device.store16(avail_event(self.settings.size), self.popped.wrapping_sub(1)),
            false => device.store16(FLAGS, NO_NOTIFY),
        }
    }
}

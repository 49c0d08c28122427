// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The driver's side of a split virtqueue: section 2.7.

use super::{
    slot::{
        check_number,
        free_all,
        why_refused,
        Slot, //
    },
    table,
    BadRing,
    Broken,
    Refused,
    Settings,
    Table,
    Used, //
};
use crate::{
    memory::{
        Areas,
        Memory, //
    },
    segment::{
        Extent,
        Parts,
        Segment, //
    },
};
use core::ops::DerefMut;
use virtio_spec::{
    features::Features,
    notification::Notification,
    split::{
        avail_event,
        is_event_due,
        used_event,
        AVAILABLE,
        DESCRIPTOR,
        FLAGS,
        INDEX,
        INDIRECT,
        NO_INTERRUPT,
        NO_NOTIFY,
        RING,
        USED, //
    },
};

/// The driver's side of a split virtqueue.
#[derive(Debug)]
pub struct Split<M, S> {
    areas: Areas<M>,
    slots: S,
    queue: u16,
    size: u16,
    has_event_idx: bool,
    is_in_order: bool,
    state: State,
}

/// A buffer whose descriptors have been written: the next free ones, up to `last`.
#[derive(Debug)]
pub(super) struct Written {
    extent: Extent,
    last: u16,
    /// The free one behind that.
    next: u16,
}

/// What changes.
#[derive(Debug)]
struct State {
    /// Descriptors that are free.
    free: u16,
    /// The first of them.
    next_free: u16,
    /// Available index of the next buffer.
    added: u16,
    /// Available index that the device sees.
    published: u16,
    /// Used index of the next buffer.
    popped: u16,
    /// Used index as last read.
    seen: u16,
    /// In order: the buffer that is used next.
    oldest: u16,
    /// In order: the last one, and the bytes written, of several that were used in one go.
    batch: Option<(u16, u32)>,
    /// How often the ring was published.
    publications: u64,
    broken: Option<Broken>,
}

impl State {
    const fn new(size: u16) -> Self {
        Self {
            free: size,
            next_free: 0,
            added: 0,
            published: 0,
            popped: 0,
            seen: 0,
            oldest: 0,
            batch: None,
            publications: 0,
            broken: None,
        }
    }
}

impl<T, M: Memory, S: DerefMut<Target = [Slot<T>]>> Split<M, S> {
    pub(super) fn new(settings: Settings, areas: Areas<M>, slots: S) -> Result<Self, BadRing> {
        let size = settings.size;
        settings.check_split(&areas)?;
        check_number(&slots, size)?;
        let mut ring = Self {
            areas,
            slots,
            queue: settings.queue,
            size,
            has_event_idx: settings.features.has(Features::EVENT_IDX),
            is_in_order: settings.features.has(Features::IN_ORDER),
            state: State::new(size),
        };
        ring.reset(drop);
        Ok(ring)
    }

    pub(super) fn reset(&mut self, lost: impl FnMut(T)) {
        self.state = State::new(self.size);
        free_all(&mut self.slots, self.size, lost);
        let Areas { driver, device, .. } = &self.areas;
        driver.store16(FLAGS, 0);
        driver.store16(INDEX, 0);
        driver.store16(used_event(self.size), 0);
        device.store16(FLAGS, 0);
        device.store16(INDEX, 0);
        device.store16(avail_event(self.size), 0);
    }

    /// Which bits of an index count.
    #[inline(always)]
    const fn mask(&self) -> u16 {
        self.size.wrapping_sub(1)
    }

    #[inline]
    pub(super) fn free(&self) -> u16 {
        self.state.free
    }

    /// Writes the descriptors of a buffer.
    #[inline(always)]
    pub(super) fn write(&self, parts: &Parts<'_>) -> Result<Written, Refused> {
        let Some(count) = parts.count_within(self.state.free) else {
            return Err(self.why_refused(*parts, false));
        };
        let slots: &[Slot<T>] = &self.slots;
        let (mut last, mut next) = (0, self.state.next_free);
        let lengths = parts.describe(|segment, flags| {
            last = next;
            next = slots[usize::from(last)].next;
            self.put(last, segment, flags, next);
        });
        // Nobody reads descriptors that no available buffer leads to.
        let Some(extent) = Extent::new(count, lengths) else {
            return Err(self.why_refused(*parts, false));
        };
        Ok(Written { extent, last, next })
    }

    /// Writes the table of a buffer, and the descriptor of the table.
    #[inline(always)]
    pub(super) fn write_indirect<A: Memory>(
        &self,
        table: Table<'_, A>,
        parts: &Parts<'_>,
    ) -> Result<Written, Refused> {
        let room = if self.state.free == 0 { 0 } else { self.size };
        let Some((extent, entries)) = table::write(table, room, parts, words)? else {
            return Err(self.why_refused(*parts, true));
        };
        let last = self.state.next_free;
        self.put(last, &entries, INDIRECT, 0);
        let next = self.slots[usize::from(last)].next;
        Ok(Written { extent, last, next })
    }

    #[inline(always)]
    fn put(&self, index: u16, segment: &Segment, flags: u16, next: u16) {
        let at = DESCRIPTOR.wrapping_mul(index.into());
        let words = words(segment, flags, next);
        self.areas.descriptors.store64_pair(at, words);
    }

    /// Puts a buffer into the ring, if it was written.
    #[inline(always)]
    pub(super) fn commit(&mut self, written: Written, token: T) {
        let Written { extent, last, next } = written;
        let entry = self.state.added & self.mask();
        let state = &mut self.state;
        let head = state.next_free;
        state.next_free = next;
        state.free = state.free.wrapping_sub(extent.count);
        state.added = state.added.wrapping_add(1);
        let slot = &mut self.slots[usize::from(head)];
        slot.token = Some(token);
        slot.batch = state.publications;
        slot.writable = extent.writable;
        slot.count = extent.count;
        slot.last = last;
        let at = RING.wrapping_add(AVAILABLE.wrapping_mul(entry.into()));
        self.areas.driver.store16(at, head);
    }

    #[cold]
    fn why_refused(&self, parts: Parts<'_>, table: bool) -> Refused {
        let room = (self.size, self.state.free);
        let why = || why_refused(&parts, table, room);
        self.state.broken.map_or_else(why, Refused::Broken)
    }

    #[inline]
    pub(super) fn publish(&mut self) -> Option<Notification> {
        let (old, new) = (self.state.published, self.state.added);
        if new == old {
            return None;
        }
        self.state.published = new;
        self.state.publications = self.state.publications.wrapping_add(1);
        let Areas { driver, device, .. } = &self.areas;
        driver.store16_release(INDEX, new);
        // The device either sees the index, or has asked for a notification before: 2.7.13.4.
        driver.full_barrier();
        let is_wanted = match self.has_event_idx {
            true => is_event_due(device.load16(avail_event(self.size)), new, old),
            false => device.load16(FLAGS) & NO_NOTIFY == 0,
        };
        is_wanted.then_some(Notification {
            queue: self.queue,
            next: new,
        })
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Result<Option<Used<T>>, Broken> {
        match self.take() {
            None => self.state.broken.map_or(Ok(None), Err),
            used => Ok(used),
        }
    }

    /// The next buffer that was used, unless there is none or the ring is broken.
    #[inline(always)]
    fn take(&mut self) -> Option<Used<T>> {
        if self.state.popped == self.state.seen && !self.look() {
            return None;
        }
        let used = match self.is_in_order {
            true => self.pop_in_order(),
            false => self.pop_any(),
        }?;
        self.state.popped = self.state.popped.wrapping_add(1);
        Some(used)
    }

    /// Reads the used index. Whether there is something to pop.
    #[inline]
    fn look(&mut self) -> bool {
        let state = &mut self.state;
        let (published, before) = (state.published, state.popped);
        let claimed = self.areas.device.load16_acquire(INDEX);
        if claimed.wrapping_sub(before) > published.wrapping_sub(before) {
            self.break_off(Broken::Index {
                claimed,
                published,
                before,
            });
            return false;
        }
        state.seen = claimed;
        claimed != before
    }

    /// The device's next entry: an id and a length.
    #[inline(always)]
    fn entry(&self) -> [u32; 2] {
        let entry = self.state.popped & self.mask();
        let at = RING.wrapping_add(USED.wrapping_mul(entry.into()));
        self.areas.device.load32_pair(at)
    }

    #[inline(always)]
    fn pop_any(&mut self) -> Option<Used<T>> {
        let [id, length] = self.entry();
        let slot = self.slots.get_mut(id as usize);
        let redeemed = slot.and_then(|slot| {
            let token = slot.redeem(length, self.state.publications)?;
            Some((token, slot.count, slot.last))
        });
        let Some((token, count, last)) = redeemed else {
            self.catch(id, length);
            return None;
        };
        self.slots[usize::from(last)].next = self.state.next_free;
        self.state.next_free = id as u16;
        self.state.free = self.state.free.wrapping_add(count);
        Some(Used { token, length })
    }

    /// In order, the free descriptors stay in the order of the table, and one entry stands for
    /// all buffers up to its own: section 2.7.9.
    #[inline(always)]
    fn pop_in_order(&mut self) -> Option<Used<T>> {
        let (last, written) = match self.state.batch {
            Some(batch) => batch,
            None => self.begin_batch()?,
        };
        let (id, mask) = (self.state.oldest, self.mask());
        let slot = &mut self.slots[usize::from(id)];
        let is_last = id == last;
        let length = if is_last { written } else { slot.writable };
        let Some(token) = slot.redeem(length, self.state.publications) else {
            self.catch(id.into(), length);
            return None;
        };
        self.state.batch = (!is_last).then_some((last, written));
        self.state.oldest = id.wrapping_add(slot.count) & mask;
        self.state.free = self.state.free.wrapping_add(slot.count);
        Some(Used { token, length })
    }

    /// The last buffer of those that have been used in one go, and what was written to it.
    #[inline(always)]
    fn begin_batch(&mut self) -> Option<(u16, u32)> {
        let [id, length] = self.entry();
        match self.slots.get(id as usize) {
            Some(slot) if slot.is_out(self.state.publications) => Some((id as u16, length)),
            _ => {
                self.break_off(Broken::Id(id));
                None
            }
        }
    }

    /// The device has lied about this buffer.
    #[cold]
    fn catch(&mut self, id: u32, claimed: u32) {
        let slot = self.slots.get(id as usize);
        self.break_off(Slot::lie(slot, id, claimed, self.state.publications));
    }

    /// From now on nothing fits in, is left to publish, or comes out, as the device has nothing
    /// any more that it could have used. The first lie is what counts.
    #[cold]
    fn break_off(&mut self, broken: Broken) {
        let state = &mut self.state;
        state.broken.get_or_insert(broken);
        state.free = 0;
        state.published = state.added;
        state.popped = state.added;
        state.seen = state.added;
    }

    #[inline]
    pub(super) fn is_ready(&self) -> bool {
        let state = &self.state;
        let is_known = state.popped != state.seen || state.broken.is_some();
        is_known || self.areas.device.load16(INDEX) != state.popped
    }

    pub(super) fn enable_interrupts(&mut self, after: u16) -> bool {
        let driver = &self.areas.driver;
        let event = self.state.popped.wrapping_add(after);
        match self.has_event_idx {
            true => driver.store16(used_event(self.size), event),
            false => driver.store16(FLAGS, 0),
        }
        // Either the device sees that, or its index is seen now: 2.7.14.
        driver.full_barrier();
        self.is_ready()
    }

    pub(super) fn disable_interrupts(&mut self) {
        let driver = &self.areas.driver;
        match self.has_event_idx {
            // The flag must stay clear; an index that was passed is as good.
            true => driver.store16(used_event(self.size), self.state.popped.wrapping_sub(1)),
            false => driver.store16(FLAGS, NO_INTERRUPT),
        }
    }
}

/// The words of a descriptor.
#[inline(always)]
fn words(segment: &Segment, flags: u16, next: u16) -> [u64; 2] {
    let rest = u64::from(segment.length) | u64::from(flags) << 32 | u64::from(next) << 48;
    [segment.address, rest]
}

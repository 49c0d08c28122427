// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The driver's side of a packed virtqueue: section 2.8.

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
    event::{
        self,
        Wanted, //
    },
    memory::{
        Areas,
        Memory, //
    },
    position::Position,
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
    packed::DESCRIPTOR,
    split::{
        INDIRECT,
        WRITE, //
    },
};

/// The driver's side of a packed virtqueue.
#[derive(Debug)]
pub struct Packed<M, S> {
    areas: Areas<M>,
    slots: S,
    queue: u16,
    size: u16,
    has_event_idx: bool,
    is_in_order: bool,
    state: State,
}

/// The second word of the descriptor at an offset, which makes it available.
#[derive(Clone, Copy, Debug)]
struct SecondWord {
    offset: u16,
    word: u64,
}

impl SecondWord {
    /// Where it goes.
    #[inline(always)]
    fn at(self) -> usize {
        DESCRIPTOR.wrapping_mul(self.offset.into()).wrapping_add(8)
    }
}

/// A buffer whose descriptors have been written, but for the second word of the first one.
#[derive(Debug)]
pub(super) struct Written {
    extent: Extent,
    /// Where the next buffer goes.
    end: Position,
    first: SecondWord,
}

/// What changes.
#[derive(Debug)]
struct State {
    /// Descriptors that are free.
    free: u16,
    /// The next free id.
    next_free: u16,
    /// Where the next buffer goes.
    next_avail: Position,
    /// Where the next buffer comes back.
    next_used: Position,
    /// Of the first descriptor that the device does not see yet, if any was added.
    held_back: SecondWord,
    /// Descriptors added since the last publication.
    added: u16,
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
            next_avail: Position::START,
            next_used: Position::START,
            held_back: SecondWord { offset: 0, word: 0 },
            added: 0,
            oldest: 0,
            batch: None,
            publications: 0,
            broken: None,
        }
    }
}

impl<T, M: Memory, S: DerefMut<Target = [Slot<T>]>> Packed<M, S> {
    pub(super) fn new(settings: Settings, areas: Areas<M>, slots: S) -> Result<Self, BadRing> {
        let size = settings.size;
        settings.check_packed(&areas)?;
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
        let Areas {
            descriptors,
            driver,
            device,
        } = &self.areas;
        for index in 0..usize::from(self.size) {
            descriptors.store64_pair(DESCRIPTOR.wrapping_mul(index), [0; 2]);
        }
        event::ask(driver, Wanted::Everything);
        event::ask(device, Wanted::Everything);
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
        let (id, size) = (self.state.next_free, self.size);
        // What makes a descriptor available is not 0.
        let (mut end, mut first) = (self.state.next_avail, 0);
        let lengths = parts.describe(|segment, flags| {
            let [address, word] = words(segment, id, flags | end.available());
            let at = DESCRIPTOR.wrapping_mul(end.offset().into());
            if first == 0 {
                self.areas.descriptors.store64(at, address);
                first = word;
            } else {
                self.areas.descriptors.store64_pair(at, [address, word]);
            }
            end.advance(1, size);
        });
        let Some(extent) = Extent::new(count, lengths) else {
            self.withdraw(count);
            return Err(self.why_refused(*parts, false));
        };
        Ok(Written {
            extent,
            end,
            first: self.second_word(first),
        })
    }

    /// Makes descriptors that have been written for the next buffer unavailable again. The first
    /// one is.
    #[cold]
    fn withdraw(&self, count: u16) {
        let mut position = self.state.next_avail;
        for _ in 1..count {
            position.advance(1, self.size);
            let at = DESCRIPTOR.wrapping_mul(position.offset().into());
            let word = u64::from(position.unused()) << 48;
            self.areas.descriptors.store64(at.wrapping_add(8), word);
        }
    }

    /// Of the first descriptor of the next buffer.
    #[inline(always)]
    fn second_word(&self, word: u64) -> SecondWord {
        let offset = self.state.next_avail.offset();
        SecondWord { offset, word }
    }

    /// Writes the table of a buffer, and the descriptor of the table.
    #[inline(always)]
    pub(super) fn write_indirect<A: Memory>(
        &self,
        table: Table<'_, A>,
        parts: &Parts<'_>,
    ) -> Result<Written, Refused> {
        let room = if self.state.free == 0 { 0 } else { self.size };
        // Of the flags, a table has only this one: section 2.8.7.
        let entry = |segment: &Segment, flags, _| words(segment, 0, flags & WRITE);
        let Some((extent, entries)) = table::write(table, room, parts, entry)? else {
            return Err(self.why_refused(*parts, true));
        };
        let position = self.state.next_avail;
        let flags = INDIRECT | position.available();
        let [address, word] = words(&entries, self.state.next_free, flags);
        let at = DESCRIPTOR.wrapping_mul(position.offset().into());
        self.areas.descriptors.store64(at, address);
        Ok(Written {
            extent,
            end: position.after(1, self.size),
            first: self.second_word(word),
        })
    }

    /// Puts a buffer into the ring, with the next free id.
    #[inline(always)]
    pub(super) fn commit(&mut self, written: Written, token: T) {
        let Written { extent, end, first } = written;
        let state = &mut self.state;
        let slot = &mut self.slots[usize::from(state.next_free)];
        slot.token = Some(token);
        slot.batch = state.publications;
        slot.writable = extent.writable;
        slot.count = extent.count;
        state.next_free = slot.next;
        state.free = state.free.wrapping_sub(extent.count);
        state.next_avail = end;
        let before = state.added;
        state.added = before.wrapping_add(extent.count);
        // The device looks at descriptors in turn, so it suffices to hold back the first one of
        // all that are new.
        match before {
            0 => state.held_back = first,
            _ => self.areas.descriptors.store64(first.at(), first.word),
        }
    }

    #[cold]
    fn why_refused(&self, parts: Parts<'_>, table: bool) -> Refused {
        let room = (self.size, self.state.free);
        let why = || why_refused(&parts, table, room);
        self.state.broken.map_or_else(why, Refused::Broken)
    }

    #[inline]
    pub(super) fn publish(&mut self) -> Option<Notification> {
        let state = &mut self.state;
        let added = core::mem::take(&mut state.added);
        if added == 0 {
            return None;
        }
        state.publications = state.publications.wrapping_add(1);
        let Areas {
            descriptors,
            device,
            ..
        } = &self.areas;
        let SecondWord { word, .. } = state.held_back;
        descriptors.store64_release(state.held_back.at(), word);
        // The device either sees the descriptor, or has asked for a notification before: 2.8.21.3.
        descriptors.full_barrier();
        let is_wanted = event::is_due(device, state.next_avail, added, self.size);
        is_wanted.then_some(Notification {
            queue: self.queue,
            next: state.next_avail.off_wrap(),
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
        match (self.is_in_order, self.state.batch) {
            (false, _) => {
                let used = self.look()?;
                self.pop_any(used)
            }
            (true, Some(batch)) => self.pop_in_order(batch),
            (true, None) => {
                let used = self.look()?;
                self.begin_batch(used)
            }
        }
    }

    /// The id and the length in the next used descriptor, if it has been used.
    #[inline(always)]
    fn look(&self) -> Option<(u16, u32)> {
        let position = self.state.next_used;
        let at = DESCRIPTOR.wrapping_mul(position.offset().into());
        let word = self.areas.descriptors.load64_acquire(at.wrapping_add(8));
        let is_used = position.is_used((word >> 48) as u16);
        is_used.then_some(((word >> 32) as u16, word as u32))
    }

    #[inline(always)]
    fn pop_any(&mut self, (id, length): (u16, u32)) -> Option<Used<T>> {
        let slot = self.slots.get_mut(usize::from(id));
        let redeemed = slot.and_then(|slot| {
            let token = slot.redeem(length, self.state.publications)?;
            slot.next = self.state.next_free;
            Some((token, slot.count))
        });
        let Some((token, count)) = redeemed else {
            self.catch(id, length);
            return None;
        };
        self.state.next_free = id;
        self.retire(count);
        Some(Used { token, length })
    }

    /// In order, one descriptor stands for all buffers up to its own: section 2.8.8.
    #[inline(always)]
    fn begin_batch(&mut self, (last, written): (u16, u32)) -> Option<Used<T>> {
        if last == self.state.oldest {
            return self.pop_oldest(Some(written));
        }
        match self.slots.get(usize::from(last)) {
            Some(slot) if slot.is_out(self.state.publications) => {
                self.state.batch = Some((last, written));
                self.pop_oldest(None)
            }
            _ => {
                self.break_off(Broken::Id(last.into()));
                None
            }
        }
    }

    /// The next of a batch.
    #[inline(always)]
    fn pop_in_order(&mut self, (last, written): (u16, u32)) -> Option<Used<T>> {
        let is_last = last == self.state.oldest;
        if is_last {
            self.state.batch = None;
        }
        self.pop_oldest(is_last.then_some(written))
    }

    /// Of a buffer for which there is no length, all was written.
    #[inline(always)]
    fn pop_oldest(&mut self, written: Option<u32>) -> Option<Used<T>> {
        let id = self.state.oldest;
        let slot = &mut self.slots[usize::from(id)];
        let length = written.unwrap_or(slot.writable);
        let Some(token) = slot.redeem(length, self.state.publications) else {
            self.catch(id, length);
            return None;
        };
        // In order, ids are given in turn.
        self.state.oldest = slot.next;
        let count = slot.count;
        self.retire(count);
        Some(Used { token, length })
    }

    /// `count` descriptors are free again.
    #[inline(always)]
    fn retire(&mut self, count: u16) {
        self.state.free = self.state.free.wrapping_add(count);
        self.state.next_used.advance(count, self.size);
    }

    /// The device has lied about this buffer.
    #[cold]
    fn catch(&mut self, id: u16, claimed: u32) {
        let (slot, id) = (self.slots.get(usize::from(id)), id.into());
        self.break_off(Slot::lie(slot, id, claimed, self.state.publications));
    }

    /// From now on nothing fits in, is left to publish, or comes out.
    #[cold]
    fn break_off(&mut self, broken: Broken) {
        self.state.broken = Some(broken);
        self.state.free = 0;
        self.state.next_used = Position::NOWHERE;
        self.state.added = 0;
        self.state.batch = None;
    }

    #[inline]
    pub(super) fn is_ready(&self) -> bool {
        let state = &self.state;
        state.batch.is_some() || state.broken.is_some() || self.look().is_some()
    }

    pub(super) fn enable_interrupts(&mut self, after: u16) -> bool {
        let wanted = match self.has_event_idx {
            // No later than that, as a buffer has a descriptor or more.
            true => Wanted::At(self.state.next_used.after(after, self.size)),
            false => Wanted::Everything,
        };
        event::ask(&self.areas.driver, wanted);
        // Either the device sees that, or its descriptor is seen now.
        self.areas.driver.full_barrier();
        self.is_ready()
    }

    pub(super) fn disable_interrupts(&mut self) {
        event::ask(&self.areas.driver, Wanted::Nothing);
    }
}

/// The words of a descriptor.
#[inline(always)]
fn words(segment: &Segment, id: u16, flags: u16) -> [u64; 2] {
    let rest = u64::from(segment.length) | u64::from(id) << 32 | u64::from(flags) << 48;
    [segment.address, rest]
}

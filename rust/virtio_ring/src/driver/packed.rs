// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The driver's side of a packed virtqueue: section 2.8.

use super::{
    slot::{
        check_number,
        free_all,
        why_refused,
        Slot, //
    },
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
        self,
        Areas,
        Memory, //
    },
    position::Position,
    segment::{
        describe,
        Extent,
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
    /// The second word of the first descriptor that the device does not see yet, and where it
    /// goes.
    held_back: Option<(usize, u64)>,
    /// Descriptors added since the last publication.
    added: u16,
    /// In order: the buffer that is used next.
    oldest: u16,
    /// In order: the last one, and the bytes written, of several that were used in one go.
    batch: Option<(u16, u32)>,
    broken: Option<Broken>,
}

impl State {
    const fn new(size: u16) -> Self {
        Self {
            free: size,
            next_free: 0,
            next_avail: Position::START,
            next_used: Position::START,
            held_back: None,
            added: 0,
            oldest: 0,
            batch: None,
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

    #[inline]
    pub(super) fn add(
        &mut self,
        readable: &[Segment],
        writable: &[Segment],
        token: T,
    ) -> Result<(), (Refused, T)> {
        let Some(extent) = Extent::within(self.state.free, readable, writable) else {
            return Err((self.why_refused(readable, writable, false), token));
        };
        describe(readable, writable, |segment, flags| {
            self.put(segment, flags);
        });
        self.commit(extent, token);
        Ok(())
    }

    #[inline]
    pub(super) fn add_indirect<A: Memory>(
        &mut self,
        table: Table<'_, A>,
        readable: &[Segment],
        writable: &[Segment],
        token: T,
    ) -> Result<(), (Refused, T)> {
        let room = if self.state.free == 0 { 0 } else { self.size };
        let Some(extent) = Extent::within(room, readable, writable) else {
            return Err((self.why_refused(readable, writable, true), token));
        };
        if let Err(short) = memory::check(table.memory, extent.table()) {
            return Err((Refused::Table(short), token));
        }
        let mut at = 0usize;
        describe(readable, writable, |segment, flags| {
            // Of the flags, a table has only this one: section 2.8.7.
            let word = second_word(segment.length, 0, flags & WRITE);
            table.memory.store64_pair(at, [segment.address, word]);
            at = at.wrapping_add(DESCRIPTOR);
        });
        let entries = Segment {
            address: table.address,
            length: extent.table() as u32,
        };
        self.put(&entries, INDIRECT);
        self.commit(Extent { count: 1, ..extent }, token);
        Ok(())
    }

    /// Writes the next descriptor, for the buffer with the next free id. The device looks at
    /// descriptors in turn, so it suffices to hold back the first one of all that are new.
    #[inline(always)]
    fn put(&mut self, segment: &Segment, flags: u16) {
        let state = &mut self.state;
        let position = state.next_avail;
        let flags = flags | position.available();
        let word = second_word(segment.length, state.next_free, flags);
        let at = DESCRIPTOR.wrapping_mul(position.offset().into());
        self.areas.descriptors.store64(at, segment.address);
        let at = at.wrapping_add(8);
        match state.held_back {
            None => state.held_back = Some((at, word)),
            Some(_) => self.areas.descriptors.store64(at, word),
        }
        state.next_avail = position.next(self.size);
    }

    /// Gives the next free id to a buffer whose descriptors have been written.
    #[inline]
    fn commit(&mut self, extent: Extent, token: T) {
        let state = &mut self.state;
        let slot = &mut self.slots[usize::from(state.next_free)];
        slot.token = Some(token);
        slot.writable = extent.writable;
        slot.count = extent.count;
        state.next_free = slot.next;
        state.free = state.free.wrapping_sub(extent.count);
        state.added = state.added.wrapping_add(extent.count);
    }

    #[cold]
    fn why_refused(&self, readable: &[Segment], writable: &[Segment], table: bool) -> Refused {
        let room = (self.size, self.state.free);
        let why = || why_refused(readable, writable, table, room);
        self.state.broken.map_or_else(why, Refused::Broken)
    }

    #[inline]
    pub(super) fn publish(&mut self) -> Option<Notification> {
        let state = &mut self.state;
        let (at, word) = state.held_back.take()?;
        let added = core::mem::take(&mut state.added);
        let Areas {
            descriptors,
            device,
            ..
        } = &self.areas;
        descriptors.store64_release(at, word);
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
        let used = match (self.state.batch, self.is_in_order) {
            (Some(batch), _) => self.pop_in_order(batch),
            (None, is_in_order) => match (self.look()?, is_in_order) {
                (None, _) => return Ok(None),
                (Some(used), false) => self.pop_any(used),
                (Some(used), true) => self.begin_batch(used),
            },
        };
        match used {
            Ok(used) => Ok(Some(used)),
            Err(broken) => Err(self.break_off(broken)),
        }
    }

    /// The id and the length in the next used descriptor, if it has been used.
    #[inline]
    fn look(&self) -> Result<Option<(u16, u32)>, Broken> {
        if let Some(broken) = self.state.broken {
            return Err(broken);
        }
        let position = self.state.next_used;
        let at = DESCRIPTOR.wrapping_mul(position.offset().into());
        let word = self.areas.descriptors.load64_acquire(at.wrapping_add(8));
        let is_used = position.is_used((word >> 48) as u16);
        Ok(is_used.then_some(((word >> 32) as u16, word as u32)))
    }

    #[inline]
    fn pop_any(&mut self, (id, length): (u16, u32)) -> Result<Used<T>, Broken> {
        let slot = self.slots.get_mut(usize::from(id));
        let slot = slot.ok_or(Broken::Id(id.into()))?;
        let token = slot.redeem(id.into(), length)?;
        slot.next = self.state.next_free;
        self.state.next_free = id;
        let count = slot.count;
        self.retire(count);
        Ok(Used { token, length })
    }

    /// In order, one descriptor stands for all buffers up to its own: section 2.8.8.
    #[inline]
    fn begin_batch(&mut self, (id, length): (u16, u32)) -> Result<Used<T>, Broken> {
        match self.slots.get(usize::from(id)) {
            Some(slot) if slot.token.is_some() => self.pop_in_order((id, length)),
            _ => Err(Broken::Id(id.into())),
        }
    }

    #[inline]
    fn pop_in_order(&mut self, (last, written): (u16, u32)) -> Result<Used<T>, Broken> {
        let id = self.state.oldest;
        let slot = &mut self.slots[usize::from(id)];
        let is_last = id == last;
        let length = if is_last { written } else { slot.writable };
        let token = slot.redeem(id.into(), length)?;
        // In order, ids are given in turn.
        self.state.oldest = slot.next;
        self.state.batch = (!is_last).then_some((last, written));
        let count = slot.count;
        self.retire(count);
        Ok(Used { token, length })
    }

    /// `count` descriptors are free again.
    #[inline]
    fn retire(&mut self, count: u16) {
        self.state.free = self.state.free.wrapping_add(count);
        self.state.next_used = self.state.next_used.advance(count, self.size);
    }

    /// From now on nothing fits in, is left to publish, or comes out.
    #[cold]
    fn break_off(&mut self, broken: Broken) -> Broken {
        self.state.broken = Some(broken);
        self.state.free = 0;
        self.state.held_back = None;
        self.state.batch = None;
        broken
    }

    pub(super) fn enable_interrupts(&mut self) -> bool {
        let wanted = match self.has_event_idx {
            true => Wanted::At(self.state.next_used),
            false => Wanted::Everything,
        };
        event::ask(&self.areas.driver, wanted);
        // Either the device sees that, or its descriptor is seen now.
        self.areas.driver.full_barrier();
        !matches!(self.look(), Ok(None)) || self.state.batch.is_some()
    }

    pub(super) fn disable_interrupts(&mut self) {
        event::ask(&self.areas.driver, Wanted::Nothing);
    }
}

/// The second word of a descriptor.
#[inline(always)]
fn second_word(length: u32, id: u16, flags: u16) -> u64 {
    u64::from(length) | u64::from(id) << 32 | u64::from(flags) << 48
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The driver's side, while the device is honest at times, and at times writes whatever it
//! likes.

use super::{
    areas::{
        Queue,
        View,
        MAX_SIZE,
        TABLE, //
    },
    settings, //
};
use crate::{
    input::Input,
    outcome::{
        hold,
        Broken,
        Digest, //
    },
};
use virtio_ring::{
    device,
    driver::{
        self,
        Refused,
        Ring,
        Settings,
        Slot,
        Table, //
    },
    memory::{
        Areas,
        Memory, //
    },
    segment::Segment,
};
use virtio_spec::{
    features::Features,
    split, //
};

/// A buffer that the device has.
#[derive(Clone, Copy)]
struct Buffer {
    token: u64,
    is_published: bool,
    descriptors: u16,
    room: u64,
}

/// The driver's side and what it may believe.
struct Driver<'q> {
    queue: &'q Queue,
    settings: Settings,
    ring: Ring<View<'q>, &'q mut [Slot<u64>]>,
    tokens: u64,
    /// Buffers that were published, and that came back, and the used index as last needed.
    published: u16,
    popped: u16,
    seen: u16,
    /// What the device has, in no order.
    given: [Option<Buffer>; MAX_SIZE],
    broken: Option<driver::Broken>,
}

/// Adds, publishes and pops.
///
/// # Errors
///
/// The promise that does not hold.
pub fn run(input: &mut Input<'_>, seen: &mut Digest) -> Result<(), Broken> {
    let settings = settings(input);
    let queue = Queue::new(&settings);
    let mut slots = [const { Slot::new() }; MAX_SIZE];
    let mut driver = Driver::new(&queue, settings, &mut slots)?;
    let mut device = honest(&queue, settings)?;
    while !input.is_empty() {
        match input.below(10) {
            0 => lie_anywhere(&queue, &settings, input),
            1 => lie_about_a_buffer(&queue, &settings, input),
            2 | 3 => use_one(&queue, &mut device, input),
            4 | 5 => driver.add(input, seen)?,
            6 => driver.publish(seen),
            7 => driver.ask(input, seen),
            8 if input.u8() < 0x20 => {
                driver.reset()?;
                device = honest(&queue, settings)?;
            }
            _ => driver.pop(seen)?,
        }
        driver.has_what_is_not_given()?;
        queue.check()?;
    }
    driver.reset()
}

fn is_packed(settings: &Settings) -> bool {
    settings.features.has(Features::RING_PACKED)
}

/// A device that does nothing wrong, if it is let.
fn honest(queue: &Queue, settings: Settings) -> Result<device::Ring<View<'_>>, Broken> {
    let areas = queue.for_device(is_packed(&settings));
    device::Ring::new(settings, areas).map_err(|_| Broken("small settings make a device's ring"))
}

/// Uses a buffer, if there is one and nothing is broken.
fn use_one(queue: &Queue, device: &mut device::Ring<View<'_>>, input: &mut Input<'_>) {
    let mut segments = [Segment::default(); MAX_SIZE];
    if let Ok(Some(chain)) = device.pop(queue, &mut segments) {
        let length = if input.u8() & 1 == 0 { 0 } else { chain.room };
        device.complete(chain, length);
        // Whether the driver wants an interrupt does not matter here.
        let _ = device.publish();
    }
}

/// Any byte that the device can write gets any value.
fn lie_anywhere(queue: &Queue, settings: &Settings, input: &mut Input<'_>) {
    let areas = queue.for_nobody();
    let area = match is_packed(settings) && input.u8() & 1 == 0 {
        true => &areas.descriptors,
        false => &areas.device,
    };
    area.scribble(input.u8().into(), input.u8());
}

/// Some entry says that a buffer was used.
fn lie_about_a_buffer(queue: &Queue, settings: &Settings, input: &mut Input<'_>) {
    let Areas {
        descriptors,
        device,
        ..
    } = queue.for_nobody();
    let entry = input.below(settings.size.into());
    let (id, length) = (input.edgy() as u32, input.edgy() as u32);
    if is_packed(settings) {
        let flags = [0, 0x8080, 0x80, 0x8000][input.below(4)];
        let word = u64::from(length) | u64::from(id as u16) << 32 | flags << 48;
        descriptors.store64(16 * entry + 8, word);
    } else {
        device.store32(split::RING + split::USED * entry, id);
        device.store32(split::RING + split::USED * entry + 4, length);
        let index = device.load16(split::INDEX);
        device.store16(split::INDEX, index.wrapping_add(u16::from(input.u8() & 3)));
    }
}

impl<'q> Driver<'q> {
    fn new(
        queue: &'q Queue,
        settings: Settings,
        slots: &'q mut [Slot<u64>],
    ) -> Result<Self, Broken> {
        let areas = queue.for_driver(is_packed(&settings));
        let ring = Ring::new(settings, areas, slots);
        Ok(Self {
            queue,
            settings,
            ring: ring.map_err(|_| Broken("small settings make a driver's ring"))?,
            tokens: 0,
            published: 0,
            popped: 0,
            seen: 0,
            given: [None; MAX_SIZE],
            broken: None,
        })
    }

    fn add(&mut self, input: &mut Input<'_>, seen: &mut Digest) -> Result<(), Broken> {
        let mut segments = [Segment::default(); MAX_SIZE + 1];
        let count = input.below(segments.len() + 1);
        for segment in &mut segments[..count] {
            segment.length = input.edgy() as u32;
        }
        let (readable, writable) = segments[..count].split_at(input.below(count + 1));
        let bytes = |segments: &[Segment]| segments.iter().map(|it| u64::from(it.length)).sum();
        let is_indirect = input.u8() & 1 != 0;
        self.tokens += 1;
        let added = self.offer(is_indirect, readable, writable);
        let buffer = Buffer {
            token: self.tokens,
            is_published: false,
            descriptors: if is_indirect { 1 } else { count as u16 },
            room: bytes(writable),
        };
        let wanted = self.believe(count, &buffer, bytes(&segments[..count]));
        hold(added == wanted, "a buffer is refused for what is wrong")?;
        seen.see(added.is_some().into());
        if added.is_none() {
            let place = self.given.iter_mut().find(|place| place.is_none());
            *place.ok_or(Broken("a buffer has a descriptor or more"))? = Some(buffer);
        }
        Ok(())
    }

    /// Why the ring refuses it, if it does.
    fn offer(&mut self, indirect: bool, reads: &[Segment], writes: &[Segment]) -> Option<Refused> {
        let added = if indirect {
            let memory = &self.queue.table();
            let address = TABLE;
            let table = Table { memory, address };
            self.ring.add_indirect(table, reads, writes, self.tokens)
        } else {
            self.ring.add(reads, writes, self.tokens)
        };
        added.err().map(|(refused, _)| refused)
    }

    /// Why it has to.
    fn believe(&self, count: usize, buffer: &Buffer, bytes: u64) -> Option<Refused> {
        let (needed, free) = (buffer.descriptors, self.free());
        if let Some(broken) = self.broken {
            Some(Refused::Broken(broken))
        } else if bytes > u32::MAX.into() {
            Some(Refused::Bytes(bytes))
        } else if count == 0 || count > self.settings.size.into() {
            Some(Refused::Segments(count))
        } else if needed > free {
            Some(Refused::Full { needed, free })
        } else {
            None
        }
    }

    fn free(&self) -> u16 {
        let given = self.given.iter().flatten();
        let taken: u16 = given.map(|buffer| buffer.descriptors).sum();
        self.settings.size - taken
    }

    fn publish(&mut self, seen: &mut Digest) {
        let notification = self.ring.publish();
        seen.see_option(notification.map(|it| it.data().into()));
        for buffer in self.given.iter_mut().flatten() {
            self.published += u16::from(!buffer.is_published);
            buffer.is_published = true;
        }
    }

    fn pop(&mut self, seen: &mut Digest) -> Result<(), Broken> {
        let is_ready = self.ring.is_ready();
        let lie = self.lie_of_index();
        let popped = self.ring.pop();
        let is_told = lie.is_none_or(|lie| popped == Err(lie));
        hold(is_told, "an index that runs ahead is told of")?;
        let known = self.broken.is_none_or(|broken| popped == Err(broken));
        hold(known, "a broken ring stays so")?;
        hold(
            is_ready || popped == Ok(None),
            "what can be popped is ready",
        )?;
        match popped {
            Ok(None) => seen.see(0),
            Ok(Some(used)) => {
                seen.see(used.token);
                seen.see(used.length.into());
                self.take_back(used.token, used.length)?;
            }
            Err(broken) => self.broken = Some(broken),
        }
        seen.see(self.broken.is_some().into());
        Ok(())
    }

    /// What is wrong with a split ring's index, if that is looked at and runs ahead.
    fn lie_of_index(&mut self) -> Option<driver::Broken> {
        let is_looked_at = self.seen == self.popped && self.broken.is_none();
        if is_packed(&self.settings) || !is_looked_at {
            return None;
        }
        let (published, before) = (self.published, self.popped);
        let claimed = self.queue.for_nobody().device.load16(split::INDEX);
        if claimed.wrapping_sub(before) > published - before {
            return Some(driver::Broken::Index {
                claimed,
                published,
                before,
            });
        }
        self.seen = claimed;
        None
    }

    /// Only what was given comes back, and no longer than it is.
    fn take_back(&mut self, token: u64, length: u32) -> Result<(), Broken> {
        let is_it = |place: &&mut Option<Buffer>| place.is_some_and(|it| it.token == token);
        let place = self.given.iter_mut().find(is_it);
        let buffer = place.and_then(Option::take);
        let buffer = buffer.ok_or(Broken("a buffer comes back once"))?;
        hold(buffer.is_published, "what comes back was published")?;
        self.popped += 1;
        hold(
            u64::from(length) <= buffer.room,
            "a length is no more than the room",
        )
    }

    /// Switches interrupts.
    fn ask(&mut self, input: &mut Input<'_>, seen: &mut Digest) {
        match input.below(3) {
            0 => self.ring.disable_interrupts(),
            1 => seen.see(self.ring.enable_interrupts().into()),
            _ => seen.see(
                self.ring
                    .enable_interrupts_after(input.below(4) as u16)
                    .into(),
            ),
        }
    }

    fn has_what_is_not_given(&self) -> Result<(), Broken> {
        let free = match self.broken {
            None => self.free(),
            Some(_) => 0,
        };
        hold(self.ring.free() == free, "what is not given is free")
    }

    /// All that the device has is lost, once.
    fn reset(&mut self) -> Result<(), Broken> {
        let mut given = self.given;
        let mut is_right = true;
        self.ring.reset(|token| {
            let is_it = |place: &&mut Option<Buffer>| place.is_some_and(|it| it.token == token);
            let place = given.iter_mut().find(is_it);
            is_right &= place.and_then(Option::take).is_some();
        });
        let is_all = given.iter().all(Option::is_none);
        self.given = [None; MAX_SIZE];
        (self.published, self.popped, self.seen) = (0, 0, 0);
        self.broken = None;
        hold(is_right && is_all, "a reset gives back what the device had")
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The device's side, while the driver is honest at times, and at times writes whatever it
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
    device::{
        Chain,
        Ring,
        Tables, //
    },
    driver::{
        self,
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
    split::{
        INDEX,
        INDIRECT,
        NEXT,
        RING,
        WRITE, //
    },
};

/// An honest driver's ring.
type Honest<'q> = driver::Ring<View<'q>, &'q mut [Slot<()>]>;

/// Pops, completes and publishes.
///
/// # Errors
///
/// The promise that does not hold.
pub fn run(input: &mut Input<'_>, seen: &mut Digest) -> Result<(), Broken> {
    let settings = settings(input);
    let queue = Queue::new(&settings);
    let is_packed = settings.features.has(Features::RING_PACKED);
    let mut slots = [const { Slot::new() }; MAX_SIZE];
    let mut driver = driver::Ring::new(settings, queue.for_driver(is_packed), &mut slots[..])
        .map_err(|_| Broken("small settings make a driver's ring"))?;
    let device = Ring::new(settings, queue.for_device(is_packed));
    let mut device = device.map_err(|_| Broken("small settings make a device's ring"))?;
    let mut walker = Walker::new(&queue, settings);
    while !input.is_empty() {
        match input.below(8) {
            0 => lie_anywhere(&queue, input),
            1 => lie_about_a_descriptor(&queue, &settings, input),
            2 | 3 => add_one(&queue, &mut driver, input),
            4 => drop(driver.pop()),
            5 => seen.see(match input.u8() & 1 {
                0 => device.enable_notifications().into(),
                _ => device.publish().into(),
            }),
            _ => walker.pop(&mut device, input, seen)?,
        }
        queue.check()?;
    }
    Ok(())
}

/// Makes a buffer available, if there is room.
fn add_one(queue: &Queue, driver: &mut Honest<'_>, input: &mut Input<'_>) {
    let segment = Segment {
        address: input.edgy(),
        length: u32::from(input.u8()),
    };
    let (readable, writable) = (input.below(3), input.below(3));
    let (readable, writable) = (&[segment; 2][..readable], &[segment; 2][..writable]);
    // It is of no matter here whether it fits in.
    let _ = if input.u8() & 1 == 0 {
        driver.add(readable, writable, ())
    } else {
        let memory = &queue.table();
        let address = TABLE;
        driver.add_indirect(Table { memory, address }, readable, writable, ())
    };
    let _ = driver.publish();
}

/// Any byte that the driver can write gets any value.
fn lie_anywhere(queue: &Queue, input: &mut Input<'_>) {
    let areas = queue.for_nobody();
    let area = match input.below(3) {
        0 => areas.descriptors,
        1 => areas.driver,
        _ => queue.table(),
    };
    area.scribble(input.u8().into(), input.u8());
}

/// A descriptor, in the ring or in the table, has some flags, and a length that may be a table's.
fn lie_about_a_descriptor(queue: &Queue, settings: &Settings, input: &mut Input<'_>) {
    let Areas {
        descriptors,
        driver,
        ..
    } = queue.for_nobody();
    let (entry, kind) = (input.below(settings.size.into()), input.u8());
    let area = match kind & 1 {
        0 => descriptors,
        _ => queue.table(),
    };
    let (flags, length) = (u64::from(kind >> 1 & 7), input.u8());
    let length = u64::from(length & 7) * 16 + u64::from(length >> 7);
    let other = u64::from(input.edgy() as u16);
    area.store64(16 * entry, TABLE + 16 * u64::from(kind >> 4 & 3));
    if settings.features.has(Features::RING_PACKED) {
        let available = [0x80, 0x8000][usize::from(kind >> 7)];
        area.store64(
            16 * entry + 8,
            length | other << 32 | (flags | available) << 48,
        );
    } else {
        area.store64(16 * entry + 8, length | flags << 32 | (other & 0xf) << 48);
        let next = input.u8();
        driver.store16(RING + 2 * entry, u16::from(next & 0xf));
        driver.store16(
            INDEX,
            driver.load16(INDEX).wrapping_add(u16::from(next >> 6)),
        );
    }
}

/// What a plain reading of the specification makes of the memory.
struct Walker<'q> {
    queue: &'q Queue,
    settings: Settings,
    /// Where the next chain is: how many entries or descriptors there were before.
    next: u64,
    /// The available index when it was last needed.
    seen: u16,
    is_broken: bool,
}

/// What there is to pop.
enum Next {
    Nothing,
    Chain(Plain),
    /// Something that is not allowed.
    Wrong,
}

/// A chain, read plainly.
struct Plain {
    /// Most segments.
    limit: usize,
    segments: [Segment; MAX_SIZE],
    readable: usize,
    count: usize,
    /// Descriptors in the ring.
    taken: u64,
}

impl<'q> Walker<'q> {
    const fn new(queue: &'q Queue, settings: Settings) -> Self {
        Self {
            queue,
            settings,
            next: 0,
            seen: 0,
            is_broken: false,
        }
    }

    fn pop(
        &mut self,
        device: &mut Ring<View<'_>>,
        input: &mut Input<'_>,
        seen: &mut Digest,
    ) -> Result<(), Broken> {
        let mut segments = [Segment::default(); MAX_SIZE];
        let popped = device.pop(self.queue, &mut segments);
        seen.see(popped.is_ok().into());
        match (popped, self.look()) {
            (Ok(None), Next::Nothing) => Ok(()),
            (Ok(Some(chain)), Next::Chain(plain)) => {
                self.next += plain.taken;
                plain.compare(&chain, &segments)?;
                seen.see(chain.room.into());
                device.complete(chain, u32::from(input.u8() & 1));
                Ok(())
            }
            (Err(_), Next::Wrong) => {
                self.is_broken = true;
                Ok(())
            }
            _ => Err(Broken("what is popped is what the memory says")),
        }
    }

    fn look(&mut self) -> Next {
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
        let size = u64::from(self.settings.size);
        let is_packed = self.settings.features.has(Features::RING_PACKED);
        let mut plain = Plain {
            limit: self.settings.size.into(),
            segments: [Segment::default(); MAX_SIZE],
            readable: 0,
            count: 0,
            taken: 0,
        };
        let mut index = match is_packed {
            true => self.next % size,
            false => driver.load16(RING + 2 * (self.next % size) as usize).into(),
        };
        let mut in_ring = 0;
        loop {
            if index >= size || in_ring == size {
                return None;
            }
            in_ring += 1;
            plain.taken = if is_packed { in_ring } else { 1 };
            let words = descriptors.load64_pair(16 * index as usize);
            let (flags, next) = flags_and_next(words, is_packed);
            if flags & INDIRECT != 0 {
                return self.walk_table(plain, words, flags);
            }
            plain.push(words, flags)?;
            if flags & NEXT == 0 {
                return plain.within_32_bits();
            }
            index = if is_packed {
                (index + 1) % size
            } else {
                next.into()
            };
        }
    }

    /// The chain whose last descriptor is this one, of a table.
    fn walk_table(&self, mut plain: Plain, table: [u64; 2], flags: u16) -> Option<Plain> {
        let (address, length) = (table[0], table[1] as u32);
        let entries = (length / 16) as u16;
        let is_allowed = self.settings.features.has(Features::INDIRECT_DESC) && flags & NEXT == 0;
        let is_table =
            length % 16 == 0 && (1..=u32::from(self.settings.size)).contains(&(length / 16));
        if !is_allowed || !is_table {
            return None;
        }
        let is_packed = self.settings.features.has(Features::RING_PACKED);
        let mut index = 0;
        loop {
            let words = self
                .queue
                .descriptor(address.checked_add(16 * u64::from(index))?)?;
            let (flags, next) = flags_and_next(words, is_packed);
            if is_packed {
                plain.push(words, flags & WRITE)?;
                index += 1;
                if index == entries {
                    return plain.within_32_bits();
                }
            } else {
                if flags & INDIRECT != 0 {
                    return None;
                }
                plain.push(words, flags)?;
                if flags & NEXT == 0 {
                    return plain.within_32_bits();
                }
                index = next;
                if index >= entries {
                    return None;
                }
            }
        }
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

    fn compare(&self, chain: &Chain, segments: &[Segment]) -> Result<(), Broken> {
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

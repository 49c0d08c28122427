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
    plain_walk::{
        Next,
        Walker, //
    },
    settings, //
};
use crate::{
    input::Input,
    outcome::{
        Broken,
        Digest, //
    },
};
use virtio_ring::{
    device::Ring,
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
        RING, //
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
            _ => pop(&mut walker, &queue, &mut device, input, seen)?,
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

/// Pops what the walker says.
fn pop(
    walker: &mut Walker<'_>,
    queue: &Queue,
    device: &mut Ring<View<'_>>,
    input: &mut Input<'_>,
    seen: &mut Digest,
) -> Result<(), Broken> {
    let mut segments = [Segment::default(); MAX_SIZE];
    let popped = device.pop(queue, &mut segments);
    seen.see(popped.is_ok().into());
    match (popped, walker.look()) {
        (Ok(None), Next::Nothing) => Ok(()),
        (Ok(Some(chain)), Next::Chain(plain)) => {
            walker.step(&plain);
            plain.compare(&chain, &segments)?;
            seen.see(chain.room.into());
            device.complete(chain, u32::from(input.u8() & 1));
            Ok(())
        }
        (Err(_), Next::Wrong) => {
            walker.stop();
            Ok(())
        }
        _ => Err(Broken("what is popped is what the memory says")),
    }
}

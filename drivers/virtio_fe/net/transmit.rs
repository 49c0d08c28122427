// SPDX-License-Identifier: GPL-2.0-only

//! A transmit queue: packets go into the ring, and are freed when they come out of it.
//!
//! A packet begins with its header, and most are one piece. For the others there is memory that the
//! device has had since the queue was made: for descriptors of the packet's pieces. So only the
//! packet itself has to be mapped, and nothing is allocated.
//!
//! Nobody but TCP waits for a packet to be sent, as its sender has been told that it was. So there are
//! no interrupts, but when the ring is full or has packets of TCP's: others are taken back when packets
//! are received, or when packets are sent and half of the ring is taken.

use super::counters::Counters;
use crate::virtqueue::Virtqueue;
use kernel::{
    device,
    prelude::*,
    sync::aref::ARef, //
};
use netdev::{
    PacketMap,
    SkBuff,
    Taken,
    MAX_SEGMENTS, //
};
use virtio_ring::{
    driver::{
        Broken,
        Refused,
        Table, //
    },
    segment::Segment, //
};
use virtio_spec::split::DESCRIPTOR;
use virtio_transport::DmaMemory;

/// Bytes of a place, which is for a table.
pub(super) const PLACE: usize = DESCRIPTOR * MAX_SEGMENTS;
/// Pieces of a packet that are described in the ring itself, as a table costs more.
const DIRECT: usize = 2;

/// A packet in the ring.
pub(super) struct Sent {
    packet: Taken,
    /// If it has fragments.
    place: Option<u16>,
}

/// What packets with fragments need.
struct Places {
    /// Room for a table each, [`PLACE`] bytes.
    tables: DmaMemory,
    /// Where the packet of each is mapped.
    maps: KVec<PacketMap>,
    /// Those that no packet has.
    free: KVec<u16>,
}

impl Places {
    fn new(tables: DmaMemory, number: u16) -> Result<Self> {
        let mut free = KVec::with_capacity(number.into(), GFP_KERNEL)?;
        for place in (0..number).rev() {
            free.push(place, GFP_KERNEL)?;
        }
        Ok(Self {
            tables,
            maps: KVec::from_elem(PacketMap::default(), number.into(), GFP_KERNEL)?,
            free,
        })
    }

    /// Takes a packet back from the device, and its place.
    #[inline(always)]
    fn take_back(&mut self, sent: Sent, dma: Option<&device::Device>) -> SkBuff {
        let Some(place) = sent.place else {
            return sent.packet.take_back(dma, None);
        };
        // There is capacity for all places.
        let _ = self.free.push_within_capacity(place);
        sent.packet
            .take_back(dma, self.maps.get(usize::from(place)))
    }
}

/// A transmit queue.
pub(super) struct Transmitter {
    queue: Virtqueue<Sent>,
    /// Packets in the ring.
    packets: u16,
    /// Somebody waits for one of them, or did so since the ring was empty.
    is_awaited: bool,
    /// Descriptors that a packet may need.
    needed: u16,
    is_indirect: bool,
    /// It is stopped, and being reset.
    is_held: bool,
    places: Places,
    /// Whose addresses data need, if the platform has a say in that.
    dma: Option<ARef<device::Device>>,
}

impl Transmitter {
    pub(super) fn new(
        queue: Virtqueue<Sent>,
        memory: DmaMemory,
        is_indirect: bool,
        dma: Option<ARef<device::Device>>,
    ) -> Result<Self> {
        let size = queue.setup.size;
        let needed = if is_indirect { DIRECT } else { MAX_SEGMENTS } as u16;
        if size < needed {
            return Err(EINVAL);
        }
        let mut this = Self {
            queue,
            packets: 0,
            is_awaited: false,
            needed,
            is_indirect,
            is_held: false,
            places: Places::new(memory, size)?,
            dma,
        };
        this.queue.ring.disable_interrupts();
        Ok(this)
    }

    /// Whether any packet fits.
    #[inline(always)]
    pub(super) fn has_room(&self) -> bool {
        self.queue.ring.free() >= self.needed
    }

    /// Puts a packet into the ring, or drops it.
    ///
    /// # Errors
    ///
    /// `EIO`: the device has to be reset. Others: something is missing.
    #[inline(always)]
    pub(super) fn add(&mut self, packet: SkBuff) -> Result {
        let (packet, head, is_awaited) = packet.take(self.dma.as_deref())?;
        self.is_awaited |= is_awaited;
        let added = match packet.has_fragments() {
            true => self.add_pieces(packet, &head),
            false => {
                let sent = Sent {
                    packet,
                    place: None,
                };
                self.queue.ring.add(&[head], &[], sent).map_err(why)
            }
        };
        match added {
            Ok(()) => self.packets = self.packets.wrapping_add(1),
            Err((error, sent)) => {
                drop(self.places.take_back(sent, self.dma.as_deref()));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Puts a packet with fragments into the ring.
    #[inline(never)]
    fn add_pieces(&mut self, packet: Taken, head: &Segment) -> Result<(), (Error, Sent)> {
        let Places { tables, maps, free } = &mut self.places;
        let place = free.pop();
        let sent = Sent { packet, place };
        let index = place.map_or(usize::MAX, usize::from);
        let table = tables.part(PLACE.wrapping_mul(index), PLACE);
        let (Some(map), Some(table)) = (maps.get_mut(index), table) else {
            return Err((ENOSPC, sent));
        };
        if let Err(error) = sent.packet.map(self.dma.as_deref(), head, map) {
            return Err((error, sent));
        }
        let (pieces, ring) = (map.pieces(), &mut self.queue.ring);
        let added = if pieces.len() <= DIRECT || !self.is_indirect {
            ring.add(pieces, &[], sent)
        } else {
            let table = Table {
                address: table.address(),
                memory: &table,
            };
            ring.add_indirect(table, pieces, &[], sent)
        };
        added.map_err(why)
    }

    /// Shows the device what is in the ring.
    #[inline(always)]
    pub(super) fn publish(&mut self, counters: &Counters) {
        if self.queue.publish() {
            counters.tx_notifications.add(1);
        }
    }

    /// Frees what has been sent, if half of the ring is taken. To look for it with each packet would
    /// cost as much as to send one.
    ///
    /// # Errors
    ///
    /// As [`Self::clean`].
    #[inline(always)]
    pub(super) fn make_room(&mut self) -> Result<(), Broken> {
        match self.queue.ring.free() < self.queue.setup.size / 2 {
            true => self.clean(0),
            false => Ok(()),
        }
    }

    /// Frees what has been sent. `budget` is that of NAPI, or 0 outside of it.
    ///
    /// # Errors
    ///
    /// What the device did wrong. It has to be reset.
    pub(super) fn clean(&mut self, budget: i32) -> Result<(), Broken> {
        while let Some(used) = self.queue.ring.pop()? {
            let packet = self.places.take_back(used.token, self.dma.as_deref());
            packet.consume(budget);
            self.packets = self.packets.wrapping_sub(1);
        }
        Ok(())
    }

    /// Whether there is room again; otherwise there will be an interrupt.
    ///
    /// # Errors
    ///
    /// As [`Self::clean`].
    pub(super) fn wait_for_room(&mut self, budget: i32) -> Result<bool, Broken> {
        loop {
            self.clean(budget)?;
            if self.has_room() {
                self.queue.ring.disable_interrupts();
                return Ok(true);
            }
            // Half of the packets are worth an interrupt.
            if !self.queue.ring.enable_interrupts_after(self.packets / 2) {
                return Ok(false);
            }
        }
    }

    /// Has an interrupt come if somebody waits. Not while the queue is stopped, which has one anyway.
    ///
    /// # Errors
    ///
    /// As [`Self::clean`].
    #[inline(always)]
    pub(super) fn attend(&mut self, budget: i32) -> Result<(), Broken> {
        match self.is_awaited {
            true => self.attend_to_awaited(budget),
            false => Ok(()),
        }
    }

    fn attend_to_awaited(&mut self, budget: i32) -> Result<(), Broken> {
        while self.packets > 0 {
            // As above.
            if !self.queue.ring.enable_interrupts_after(self.packets / 2) {
                return Ok(());
            }
            self.clean(budget)?;
        }
        self.is_awaited = false;
        self.queue.ring.disable_interrupts();
        Ok(())
    }

    /// Keeps all hands off a queue that is stopped, until it is cleared.
    pub(super) fn hold(&mut self) {
        self.is_held = true;
    }

    /// Whether it is to be left alone.
    #[inline]
    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Drops what the device has; that, or the queue, has been reset. How many packets.
    pub(super) fn clear(&mut self) -> u64 {
        // What it has used was sent. If it has lied meanwhile, that ends here.
        let _ = self.clean(0);
        let (places, dma) = (&mut self.places, self.dma.as_deref());
        let ring = &mut self.queue.ring;
        ring.reset(|sent| drop(places.take_back(sent, dma)));
        ring.disable_interrupts();
        self.is_awaited = false;
        self.is_held = false;
        core::mem::take(&mut self.packets).into()
    }

    pub(super) fn queue(&self) -> &Virtqueue<Sent> {
        &self.queue
    }
}

impl Drop for Transmitter {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Why a packet was refused.
#[cold]
fn why((refused, sent): (Refused, Sent)) -> (Error, Sent) {
    let error = match refused {
        Refused::Broken(_) => EIO,
        _ => ENOSPC,
    };
    (error, sent)
}

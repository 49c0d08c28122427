// SPDX-License-Identifier: GPL-2.0-only

//! A transmit queue: packets go into the ring, and are freed when they come out of it.
//!
//! Each packet that can be in the ring has a place in memory that the device has had since the queue
//! was made: for its header, and for descriptors of the packet's pieces. So only the packet itself
//! has to be mapped, and nothing is allocated.
//!
//! Nobody waits for a packet to be sent, as its sender has been told that it was. So there are no
//! interrupts, but when the ring is full: packets are taken back when others are sent or received.

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
    MAX_SEGMENTS, //
};
use virtio_ring::{
    driver::{
        Broken,
        Refused,
        Table, //
    },
    memory::Memory,
    segment::Segment, //
};
use virtio_spec::{
    net::Header,
    split::DESCRIPTOR, //
};
use virtio_transport::DmaMemory;
use zerocopy::IntoBytes;

/// With the header.
const MAX_PARTS: usize = MAX_SEGMENTS + 1;
/// The header of a place, and what fills it up to a table.
const HEADER: usize = 16;
/// Bytes of a table.
const TABLE: usize = DESCRIPTOR * MAX_PARTS;
/// Bytes of a place.
pub(super) const PLACE: usize = HEADER + TABLE;
/// Parts of a packet that are described in the ring itself: header and data, as a table costs more.
const DIRECT: usize = 2;

/// A packet in the ring.
pub(super) struct Sent {
    packet: SkBuff,
    place: u16,
}

/// A transmit queue.
pub(super) struct Transmitter {
    queue: Virtqueue<Sent>,
    /// All places, [`PLACE`] bytes each.
    memory: DmaMemory,
    /// Places that no packet has.
    free: KVec<u16>,
    /// Where the packet of each place is mapped.
    maps: KVec<PacketMap>,
    is_indirect: bool,
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
        let mut free = KVec::with_capacity(size.into(), GFP_KERNEL)?;
        for place in (0..size).rev() {
            free.push(place, GFP_KERNEL)?;
        }
        let mut this = Self {
            queue,
            memory,
            free,
            maps: KVec::from_elem(PacketMap::default(), size.into(), GFP_KERNEL)?,
            is_indirect,
            dma,
        };
        if this.queue.setup.size < this.needed() {
            return Err(EINVAL);
        }
        this.queue.ring.disable_interrupts();
        Ok(this)
    }

    /// Descriptors of the ring that a packet may need.
    #[inline]
    fn needed(&self) -> u16 {
        let parts = if self.is_indirect { DIRECT } else { MAX_PARTS };
        parts as u16
    }

    /// Whether any packet fits.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.queue.ring.free() >= self.needed()
    }

    /// Puts a packet into the ring, or drops it.
    ///
    /// # Errors
    ///
    /// `EIO`: the device has to be reset. Others: something is missing.
    #[inline]
    pub(super) fn add(&mut self, mut packet: SkBuff) -> Result {
        let place = *self.free.last().ok_or(ENOSPC)?;
        let at = PLACE * usize::from(place);
        let table = self.memory.part(at + HEADER, TABLE).ok_or(ENOSPC)?;
        let map = self.maps.get_mut(usize::from(place)).ok_or(ENOSPC)?;
        let mut header = Header::default();
        packet.take(self.dma.as_deref(), &mut header, map)?;
        let parts = match map.has_header() {
            true => map.pieces(),
            false => map.behind(put_header(&self.memory, at, &header)),
        };
        let sent = Sent { packet, place };
        let added = if parts.len() <= DIRECT || !self.is_indirect {
            self.queue.ring.add(parts, &[], sent)
        } else {
            let table = Table {
                address: table.address(),
                memory: &table,
            };
            self.queue.ring.add_indirect(table, parts, &[], sent)
        };
        match added {
            Ok(()) => {
                self.free.pop();
                Ok(())
            }
            Err((refused, sent)) => {
                sent.packet.unmap(self.dma.as_deref(), map);
                Err(match refused {
                    Refused::Broken(_) => EIO,
                    _ => ENOSPC,
                })
            }
        }
    }

    /// Shows the device what is in the ring.
    #[inline]
    pub(super) fn publish(&mut self, counters: &Counters) {
        if self.queue.publish() {
            counters.tx_notifications.add(1);
        }
    }

    /// Frees what has been sent. `budget` is that of NAPI, or 0 outside of it.
    ///
    /// # Errors
    ///
    /// What the device did wrong. It has to be reset.
    #[inline]
    pub(super) fn clean(&mut self, budget: i32) -> Result<(), Broken> {
        while let Some(used) = self.queue.ring.pop()? {
            let Sent { packet, place } = used.token;
            free(
                &mut self.free,
                &mut self.maps,
                self.dma.as_deref(),
                &packet,
                place,
            );
            packet.consume(budget);
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
            let packets = self.maps.len().saturating_sub(self.free.len()) as u16;
            if !self.queue.ring.enable_interrupts_after(packets / 2) {
                return Ok(false);
            }
        }
    }

    /// Drops what the device has, which has been reset. How many packets.
    pub(super) fn clear(&mut self) -> u64 {
        let (places, maps, dma) = (&mut self.free, &mut self.maps, self.dma.as_deref());
        let mut lost = 0;
        self.queue.ring.reset(|Sent { packet, place }| {
            free(places, maps, dma, &packet, place);
            lost += 1;
        });
        self.queue.ring.disable_interrupts();
        lost
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

/// Writes a header for which there is no room before its packet; where it is.
#[cold]
fn put_header(memory: &DmaMemory, at: usize, header: &Header) -> Segment {
    let mut bytes = [0; HEADER];
    bytes[..size_of::<Header>()].copy_from_slice(header.as_bytes());
    let [low, high]: [u64; 2] = zerocopy::transmute!(bytes);
    memory.store64_pair(at, [u64::from_le(low), u64::from_le(high)]);
    Segment {
        address: memory.address() + at as u64,
        length: size_of::<Header>() as u32,
    }
}

/// Takes back the place of a packet.
#[inline]
fn free(
    places: &mut KVec<u16>,
    maps: &mut [PacketMap],
    dma: Option<&device::Device>,
    packet: &SkBuff,
    place: u16,
) {
    if let Some(map) = maps.get_mut(usize::from(place)) {
        packet.unmap(dma, map);
    }
    // There is capacity for all places.
    let _ = places.push_within_capacity(place);
}

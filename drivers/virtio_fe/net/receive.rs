// SPDX-License-Identifier: GPL-2.0-only

//! A receive queue: fragments go into the ring, packets come out of it.
//!
//! ```text
//! offset  0  HEADROOM  for the network stack
//!        64  header    the device writes from here on: section 5.1.6.4
//!        76  packet    or the next part of one, in which there is no header
//!            tailroom  for the network stack
//! ```

use super::{
    counters::Counters,
    Network, //
};
use crate::virtqueue::Virtqueue;
use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};
use netdev::{
    Fragment,
    Poll,
    Pool,
    Received,
    MAX_SEGMENTS, //
};
use virtio_ring::{
    driver::{
        Broken,
        Used, //
    },
    segment::Segment, //
};
use virtio_spec::net::Header;
use virtio_transport::Transport;

/// Bytes that the network stack may want before the packet.
const HEADROOM: u32 = 64;
/// Bytes of the header.
const HEADER: u32 = size_of::<Header>() as u32;
/// Bytes of an Ethernet header, with a VLAN's.
const ETHERNET: u32 = 18;
/// Packets of the Internet are no larger.
const LARGEST: u32 = 65535;

/// What the fragments of a receive queue are.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Bytes of a fragment.
    pub(super) fragment: u32,
    /// Whether a packet may take several: `VIRTIO_NET_F_MRG_RXBUF`.
    pub(super) is_mergeable: bool,
}

impl Shape {
    /// Half a page is enough for packets of the usual MTU; others need all that they can have.
    pub(super) fn new(is_mergeable: bool, receives_large: bool) -> Self {
        let page = PAGE_SIZE as u32;
        let fragment = match is_mergeable && !receives_large {
            true => page / 2,
            false => page,
        };
        Self {
            fragment,
            is_mergeable,
        }
    }

    /// Bytes that the device may write into a fragment.
    fn writable(self) -> u32 {
        netdev::room(self.fragment) - HEADROOM
    }

    /// The largest MTU.
    pub(super) fn max_mtu(self) -> u32 {
        let fragments = match self.is_mergeable {
            true => MAX_SEGMENTS as u32,
            false => 1,
        };
        (fragments * self.writable() - HEADER - ETHERNET).min(LARGEST)
    }
}

/// A receive queue.
pub(super) struct Receiver {
    /// Dropped before the pool that its fragments are from.
    queue: Virtqueue<Fragment>,
    pool: Pool,
    shape: Shape,
    writable: u32,
}

impl Receiver {
    pub(super) fn new(queue: Virtqueue<Fragment>, pool: Pool, shape: Shape) -> Self {
        Self {
            queue,
            pool,
            shape,
            writable: shape.writable(),
        }
    }

    /// Receives what there is, up to the budget. How many packets.
    ///
    /// # Errors
    ///
    /// What the device did wrong. It has to be reset.
    #[inline]
    pub(super) fn poll<T: Transport>(
        &mut self,
        poll: &Poll<'_, Network<T>>,
        counters: &Counters,
    ) -> Result<i32, Broken> {
        let mut packets = 0;
        while packets < poll.budget() {
            let Some(used) = self.queue.ring.pop()? else {
                break;
            };
            packets += 1;
            self.take(used, poll, counters)?;
        }
        self.queue
            .doorbell
            .answered(self.queue.setup.queue, packets as u32);
        if u32::from(self.queue.ring.free()) >= self.batch() {
            self.fill(counters);
        }
        Ok(packets)
    }

    /// Descriptors that are worth a look for memory.
    fn batch(&self) -> u32 {
        u32::from(self.queue.setup.size).div_ceil(4).min(32)
    }

    /// Takes a packet that begins in a fragment.
    #[inline]
    fn take<T: Transport>(
        &mut self,
        used: Used<Fragment>,
        poll: &Poll<'_, Network<T>>,
        counters: &Counters,
    ) -> Result<(), Broken> {
        let Some(header) = used.token.header(HEADROOM, used.length) else {
            counters.rx_errors.add(1);
            return Ok(());
        };
        let data = used.length.wrapping_sub(HEADER);
        let mut packet = used.token.into_packet(HEADROOM + HEADER, data);
        if self.shape.is_mergeable && header.num_buffers.get() > 1 {
            packet = self.merge(packet, header.num_buffers.get())?;
        }
        let handed_up = packet.and_then(|packet| {
            let bytes = packet.len();
            packet.hand_up(poll, &header).map(|()| bytes)
        });
        match handed_up {
            Ok(bytes) => {
                counters.rx_packets.add(1);
                counters.rx_bytes.add(bytes.into());
            }
            Err(ENOMEM) => counters.rx_dropped.add(1),
            Err(_) => counters.rx_errors.add(1),
        }
        Ok(())
    }

    /// Takes the rest of a packet, even if there is no use for it.
    fn merge(&mut self, begun: Result<Received>, buffers: u16) -> Result<Result<Received>, Broken> {
        let mut packet = begun;
        for _ in 1..buffers {
            let Some(used) = self.queue.ring.pop()? else {
                // All of them become used at once: section 5.1.6.4.
                return Ok(Err(EINVAL));
            };
            packet = packet.and_then(|mut packet| {
                packet.append(used.token, HEADROOM, used.length)?;
                Ok(packet)
            });
        }
        Ok(packet)
    }

    /// Fills the ring with memory, as far as there is some.
    pub(super) fn fill(&mut self, counters: &Counters) {
        while self.queue.ring.free() > 0 {
            let Some((fragment, address)) = self.pool.fragment() else {
                counters.rx_no_memory.add(1);
                break;
            };
            let segment = Segment {
                address: address + u64::from(HEADROOM),
                length: self.writable,
            };
            if self.queue.ring.add(&[], &[segment], fragment).is_err() {
                break;
            }
        }
        if self.queue.publish() {
            counters.rx_notifications.add(1);
        }
    }

    /// Whether the ring is without memory, so that nothing will come that has it filled.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.queue.ring.free() == self.queue.setup.size
    }

    /// Whether interrupts are on, and there is nothing to be received.
    #[inline]
    pub(super) fn rest(&mut self) -> bool {
        if self.queue.ring.enable_interrupts() {
            self.queue.ring.disable_interrupts();
            return false;
        }
        true
    }

    /// There was an interrupt, and there are to be no more. Whether there is something to be
    /// received.
    #[inline]
    pub(super) fn wake(&mut self) -> bool {
        self.queue.ring.disable_interrupts();
        self.queue.ring.is_ready()
    }

    /// Takes all memory back from a device that has been reset.
    pub(super) fn clear(&mut self) {
        self.queue.ring.reset(drop);
    }

    pub(super) fn queue(&self) -> &Virtqueue<Fragment> {
        &self.queue
    }
}

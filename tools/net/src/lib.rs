// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Network interfaces on a [`Wire`], a tap interface or whatever else carries packets: virtio-net
//! (virtio 1.3, section 5.1), [`e1000`] and [`rtl8139`].
//!
//! ```text
//! driver's transmit queue ──► a packet, its header first ──► wire      whole, at once
//! driver's receive queue  ◄── as many buffers as it takes ◄── wire     when the driver has room
//! ```
//!
//! Header and packet go through as they are: a tap has the same header, so checksums and segments
//! are left to whoever needs them.

pub mod e1000;
pub mod fault;
mod frames;
mod microwire;
mod pin;
pub mod rtl8139;
pub mod tap;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;

use rustix::io::{retry_on_intr, Errno};
use shunt::chain::{BadChain, Chain};
use shunt::counters::Counters;
use shunt::virtio_device::{VirtioDevice, OPTIONAL_FEATURES};
use virtio_spec::features::Features;
use virtio_spec::net::{feature, status, Config, Header, DEVICE_ID};
use zerocopy::IntoBytes;

/// Queues: section 5.1.2.
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;

const QUEUE_SIZE: u16 = 256;

const HEADER: usize = size_of::<Header>();

/// The guest's address, unless another one is chosen.
pub const MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x73, 0x68, 0x01];

/// Where [`Header::num_buffers`] is.
const NUM_BUFFERS: std::ops::Range<usize> = 10..12;

/// Most bytes of a packet with its header: an IP packet of 64 KiB, and Ethernet's header with a VLAN.
const PACKET_MAX: usize = HEADER + 18 + 65535;

/// What is left to the driver and to the wire.
const OFFLOADS: Features = feature::CSUM
    .with(feature::HOST_TSO4)
    .with(feature::HOST_TSO6)
    .with(feature::GUEST_CSUM)
    .with(feature::GUEST_TSO4)
    .with(feature::GUEST_TSO6);

/// What carries packets, one for each read or write, behind a header of [`HEADER`] bytes.
pub trait Wire {
    /// Does not block.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Of these features' offloads, the driver takes those of the receive side, and no others.
    ///
    /// # Errors
    ///
    /// The wire cannot do without others.
    fn set_offloads(&self, features: Features) -> io::Result<()>;
}

/// A network interface.
#[derive(Debug)]
pub struct Net<W> {
    wire: W,
    mac: [u8; 6],
    offered: Features,
    chosen: Features,
    /// A packet that waits for the driver's buffers: so many bytes.
    received: Box<[u8]>,
    length: usize,
    /// Where a packet is put together that the driver sends.
    sent: Box<[u8]>,
}

impl<W: Wire> Net<W> {
    /// An interface with this address.
    pub fn new(wire: W, mac: [u8; 6]) -> Self {
        let always = OFFLOADS.with(feature::MAC).with(feature::STATUS);
        Self {
            wire,
            mac,
            offered: always.with(feature::MRG_RXBUF),
            chosen: Features::default(),
            received: vec![0; PACKET_MAX].into(),
            length: 0,
            sent: vec![0; PACKET_MAX].into(),
        }
    }

    /// It, with these of [`OPTIONAL_FEATURES`] for the driver to choose.
    #[must_use]
    pub fn offering(self, features: Features) -> Self {
        let offered = self.offered.with(features.and(OPTIONAL_FEATURES));
        Self { offered, ..self }
    }

    /// It, with each packet in one buffer: without `VIRTIO_NET_F_MRG_RXBUF`.
    #[must_use]
    pub fn unmerged(self) -> Self {
        let offered = self.offered.without(feature::MRG_RXBUF);
        Self { offered, ..self }
    }

    fn config(&self) -> Config {
        Config {
            mac: self.mac,
            status: status::LINK_UP.into(),
            max_virtqueue_pairs: 1.into(),
            mtu: 0.into(),
            speed: u32::MAX.into(),
            duplex: u8::MAX,
        }
    }

    /// Reads the next packet, unless there is one that waits. Whether there is one.
    fn receive(&mut self) -> bool {
        while self.length == 0 {
            let packet = &mut self.received[..];
            match retry_on_intr(|| rustix::io::read(self.wire.fd(), &mut *packet)) {
                Ok(0) => return false,
                // Not even a header: nothing that a tap sends.
                Ok(1..=HEADER) => continue,
                Ok(length) => self.length = length,
                Err(Errno::AGAIN) => return false,
                Err(e) => {
                    log::warn!("cannot receive: {e}");
                    return false;
                }
            }
        }
        true
    }

    /// Gives the driver the packet that waits. One that has no room is lost, and the driver sees an
    /// empty buffer.
    fn deliver(&mut self, chain: &Chain<'_>, counters: &Counters) -> Result<u32, BadChain> {
        let packet = &mut self.received[..std::mem::take(&mut self.length)];
        if packet.len() as u64 > chain.writable().len() {
            log::debug!("no room for {} bytes", packet.len());
            counters.failed_requests.fetch_add(1, Ordering::Relaxed);
            return Ok(0);
        }
        // The driver takes no more buffers than fit: a queue has at most 32768.
        packet[NUM_BUFFERS].copy_from_slice(&(chain.buffers() as u16).to_le_bytes());
        chain.writable().copy_from(0, packet)?;
        counters
            .bytes_read
            .fetch_add(packet.len() as u64, Ordering::Relaxed);
        Ok(packet.len() as u32)
    }

    /// Sends a packet of the driver's. One that the wire does not take is lost, as on any other.
    fn transmit(&mut self, chain: &Chain<'_>, counters: &Counters) -> Result<u32, BadChain> {
        let length = chain.readable().len();
        let Some(packet) = self.sent.get_mut(..length as usize) else {
            counters.failed_requests.fetch_add(1, Ordering::Relaxed);
            return Ok(0);
        };
        chain.readable().copy_to(0, packet)?;
        match retry_on_intr(|| rustix::io::write(self.wire.fd(), packet)) {
            Ok(_) => counters.bytes_written.fetch_add(length, Ordering::Relaxed),
            Err(e) => {
                log::debug!("cannot send {length} bytes: {e}");
                counters.failed_requests.fetch_add(1, Ordering::Relaxed)
            }
        };
        Ok(0)
    }
}

impl<W: Wire> VirtioDevice for Net<W> {
    fn device_id(&self) -> u32 {
        DEVICE_ID.into()
    }

    fn features(&self) -> u64 {
        self.offered.bits()
    }

    fn set_features(&mut self, features: Features) {
        self.chosen = features;
        // It may need offloads that were chosen before.
        self.length = 0;
        if let Err(e) = self.wire.set_offloads(features) {
            log::warn!("offloads stay as they were: {e}");
        }
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE; TRANSMIT + 1]
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let config = self.config();
        let rest = config.as_bytes().iter().skip(offset as usize);
        for (byte, value) in data.iter_mut().zip(rest) {
            *byte = *value;
        }
    }

    fn input(&self) -> Option<(BorrowedFd<'_>, usize)> {
        Some((self.wire.fd(), RECEIVE))
    }

    fn room_needed(&mut self, queue: usize) -> Option<u32> {
        if queue != RECEIVE {
            return Some(0);
        }
        let is_merged = self.chosen.has(feature::MRG_RXBUF);
        self.receive().then_some(match is_merged {
            true => self.length as u32,
            false => 0,
        })
    }

    fn handle(
        &mut self,
        queue: usize,
        chain: &Chain<'_>,
        counters: &Counters,
    ) -> Result<u32, BadChain> {
        match queue {
            RECEIVE => self.deliver(chain, counters),
            _ => self.transmit(chain, counters),
        }
    }
}

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
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use rustix::buffer::spare_capacity;
use rustix::event::{epoll, Timespec};
use rustix::io::{retry_on_intr, Errno};
use shunt::chain::{BadChain, Chain};
use shunt::counters::Counters;
use shunt::state::MAX_QUEUES;
use shunt::virtio_device::{VirtioDevice, OPTIONAL_FEATURES};
use virtio_spec::features::Features;
use virtio_spec::net::{control, feature, status, Config, Header, ACK_ERR, ACK_OK, DEVICE_ID};
use zerocopy::IntoBytes;

/// Most pairs of queues of an interface: with the control queue as many as there can be.
pub const MOST_PAIRS: usize = (MAX_QUEUES - 1) / 2;

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

    /// It carries packets from now on, or none; then other wires of the same interface do.
    ///
    /// # Errors
    ///
    /// The wire is the only one.
    fn set_in_use(&self, in_use: bool) -> io::Result<()>;
}

/// A receive and a transmit queue, and the wire between which they are.
#[derive(Debug)]
struct Pair<W> {
    wire: W,
    in_use: bool,
    /// A packet that waits for the driver's buffers: so many bytes.
    received: Box<[u8]>,
    length: usize,
}

/// What a queue is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Of the pair of this number.
    Receive(usize),
    Transmit(usize),
    Control,
}

/// A network interface.
#[derive(Debug)]
pub struct Net<W> {
    pairs: Vec<Pair<W>>,
    /// Readable when one of several wires is.
    readable: Option<OwnedFd>,
    mac: [u8; 6],
    offered: Features,
    chosen: Features,
    queue_sizes: Vec<u16>,
    /// Where a packet is put together that the driver sends.
    sent: Box<[u8]>,
}

impl<W: Wire> Net<W> {
    /// An interface with this address, and a pair of queues for each of the wires, at least one and
    /// at most [`MOST_PAIRS`].
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub fn new(wires: Vec<W>, mac: [u8; 6]) -> io::Result<Self> {
        let readable = match wires.len() {
            0 | 1 => None,
            _ => Some(any_of(&wires)?),
        };
        let several = match wires.len() {
            0 | 1 => Features::default(),
            _ => feature::CTRL_VQ.with(feature::MQ),
        };
        let always = OFFLOADS.with(feature::MAC).with(feature::STATUS);
        let queues = match wires.len() {
            0 | 1 => 2,
            pairs => 2 * pairs + 1,
        };
        let pair = |wire| Pair {
            wire,
            in_use: true,
            received: vec![0; PACKET_MAX].into(),
            length: 0,
        };
        Ok(Self {
            pairs: wires.into_iter().map(pair).collect(),
            readable,
            mac,
            offered: always.with(feature::MRG_RXBUF).with(several),
            chosen: Features::default(),
            queue_sizes: vec![QUEUE_SIZE; queues],
            sent: vec![0; PACKET_MAX].into(),
        })
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

    /// Section 5.1.2: the control queue is behind as many pairs as the driver knows of.
    fn role(&self, queue: usize) -> Role {
        let pairs = match self.chosen.has(feature::MQ) {
            true => self.pairs.len(),
            false => 1,
        };
        match queue {
            _ if queue == 2 * pairs => Role::Control,
            _ if queue % 2 == 0 => Role::Receive(queue / 2),
            _ => Role::Transmit(queue / 2),
        }
    }

    /// Has the first ones of the pairs carry packets, and no others. Whether there are as many.
    fn use_pairs(&mut self, count: usize) -> bool {
        if !(1..=self.pairs.len()).contains(&count) {
            return false;
        }
        let mut done = true;
        for (number, pair) in self.pairs.iter_mut().enumerate() {
            let in_use = number < count;
            if in_use != pair.in_use {
                match pair.wire.set_in_use(in_use) {
                    Ok(()) => pair.in_use = in_use,
                    Err(e) => {
                        log::warn!("queue pair {number}: {e}");
                        done = false;
                    }
                }
            }
        }
        done
    }

    /// A command of the driver's: section 5.1.6.5. There is but one, the number of pairs.
    fn control(&mut self, chain: &Chain<'_>) -> Result<u32, BadChain> {
        let mut command = [0; 4];
        let is_whole = chain.readable().copy_to(0, &mut command).is_ok();
        let [class, number, low, high] = command;
        let known = control::MQ_VQ_PAIRS_SET;
        let is_known = is_whole && (class, number) == (known.class, known.command);
        let pairs = u16::from_le_bytes([low, high]);
        let answer = match is_known && self.use_pairs(pairs.into()) {
            true => ACK_OK,
            false => ACK_ERR,
        };
        chain.writable().copy_from(0, &[answer])?;
        Ok(1)
    }

    fn config(&self) -> Config {
        Config {
            mac: self.mac,
            status: status::LINK_UP.into(),
            max_virtqueue_pairs: (self.pairs.len() as u16).into(),
            mtu: 0.into(),
            speed: u32::MAX.into(),
            duplex: u8::MAX,
        }
    }

    /// Sends a packet of the driver's. One that the wire does not take is lost, as on any other.
    fn transmit(
        &mut self,
        pair: usize,
        chain: &Chain<'_>,
        counters: &Counters,
    ) -> Result<u32, BadChain> {
        let length = chain.readable().len();
        let Some(packet) = self.sent.get_mut(..length as usize) else {
            counters.failed_requests.fetch_add(1, Ordering::Relaxed);
            return Ok(0);
        };
        chain.readable().copy_to(0, packet)?;
        // A wire that is not in use takes nothing.
        let pair = if self.pairs[pair].in_use { pair } else { 0 };
        let wire = &self.pairs[pair].wire;
        match retry_on_intr(|| rustix::io::write(wire.fd(), packet)) {
            Ok(_) => counters.bytes_written.fetch_add(length, Ordering::Relaxed),
            Err(e) => {
                log::debug!("cannot send {length} bytes: {e}");
                counters.failed_requests.fetch_add(1, Ordering::Relaxed)
            }
        };
        Ok(0)
    }
}

/// Readable when one of the wires is, with its number.
fn any_of(wires: &[impl Wire]) -> io::Result<OwnedFd> {
    let readable = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (number, wire) in (0..).zip(wires) {
        let number = epoll::EventData::new_u64(number);
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&readable, wire.fd(), number, flags)?;
    }
    Ok(readable)
}

impl<W: Wire> Pair<W> {
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
        for pair in &mut self.pairs {
            // It may need offloads that were chosen before.
            pair.length = 0;
        }
        if let Err(e) = self.pairs[0].wire.set_offloads(features) {
            log::warn!("offloads stay as they were: {e}");
        }
        self.use_pairs(1);
    }

    fn queue_sizes(&self) -> &[u16] {
        &self.queue_sizes
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let config = self.config();
        let rest = config.as_bytes().iter().skip(offset as usize);
        for (byte, value) in data.iter_mut().zip(rest) {
            *byte = *value;
        }
    }

    fn input(&self) -> Option<BorrowedFd<'_>> {
        let only = || self.pairs[0].wire.fd();
        Some(self.readable.as_ref().map_or_else(only, AsFd::as_fd))
    }

    fn ready_queues(&mut self) -> Vec<usize> {
        let Some(readable) = &self.readable else {
            return vec![0];
        };
        let mut ready = Vec::with_capacity(MOST_PAIRS);
        let now = Timespec::default();
        let waited = epoll::wait(readable, spare_capacity(&mut ready), Some(&now));
        if let Err(e) = waited {
            log::warn!("cannot tell what is ready: {e}");
        }
        let pairs = ready.iter().map(|event| event.data.u64() as usize);
        pairs.map(|pair| 2 * pair).collect()
    }

    fn room_needed(&mut self, queue: usize) -> Option<u32> {
        let Role::Receive(pair) = self.role(queue) else {
            return Some(0);
        };
        let is_merged = self.chosen.has(feature::MRG_RXBUF);
        let pair = &mut self.pairs[pair];
        pair.receive().then_some(match is_merged {
            true => pair.length as u32,
            false => 0,
        })
    }

    fn handle(
        &mut self,
        queue: usize,
        chain: &Chain<'_>,
        counters: &Counters,
    ) -> Result<u32, BadChain> {
        match self.role(queue) {
            Role::Receive(pair) => self.pairs[pair].deliver(chain, counters),
            Role::Transmit(pair) => self.transmit(pair, chain, counters),
            Role::Control => self.control(chain),
        }
    }
}

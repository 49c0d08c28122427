// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A network device (virtio 1.3, section 5.1) that takes every packet and sends noise for each
//! buffer that it gets.

use std::cell::RefCell;

use fastrand::Rng;
use shunt::chain::{BadChain, Chain};
use shunt::counters::Counters;
use shunt::virtio_device::VirtioDevice;
use virtio_spec::features::Features;
use virtio_spec::net::{self, feature, gso, header_flag, Config};
use zerocopy::{FromZeros, IntoBytes};

/// As all drivers use it: first the receive queue, then the transmit queue.
const RECEIVE: usize = 0;
const SIZES: [u16; 2] = [64, 64];

/// Bytes of noise that begin a packet; what follows is what was there before.
const NOISE: u64 = 512;

const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x66];

pub(crate) struct Noise {
    offer: Features,
    rng: RefCell<Rng>,
}

impl Noise {
    /// Offers these features besides its own.
    pub(crate) fn new(offer: Features, rng: Rng) -> Self {
        let rng = RefCell::new(rng);
        Self { offer, rng }
    }

    /// A header that is right in parts, followed by noise.
    fn packet(&self, room: u64) -> (Vec<u8>, u64) {
        let mut rng = self.rng.borrow_mut();
        let mut bytes = vec![0; room.min(NOISE) as usize];
        rng.fill(&mut bytes);
        let any = rng.u8(..);
        let header = [
            rng.choice([0, header_flag::NEEDS_CSUM, header_flag::DATA_VALID, any]),
            rng.choice([gso::NONE, gso::TCPV4, gso::UDP, any]),
        ];
        for (byte, value) in bytes.iter_mut().zip(header) {
            *byte = value.unwrap_or_default();
        }
        let length = match rng.u8(0..4) {
            0 => rng.u64(0..=room),
            _ => rng.u64(0..=room.min(NOISE)),
        };
        (bytes, length)
    }
}

impl VirtioDevice for Noise {
    fn device_id(&self) -> u32 {
        net::DEVICE_ID.into()
    }

    fn features(&self) -> u64 {
        self.offer
            .with(feature::MAC)
            .with(feature::STATUS)
            .with(feature::CSUM)
            .with(feature::GUEST_CSUM)
            .with(feature::GUEST_TSO4)
            .with(feature::MRG_RXBUF)
            .bits()
    }

    fn queue_sizes(&self) -> &[u16] {
        &SIZES
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let mut config = Config::new_zeroed();
        config.mac = MAC;
        config.status = net::status::LINK_UP.into();
        let bytes = config.as_bytes().iter().skip(offset as usize);
        for (to, from) in data.iter_mut().zip(bytes) {
            *to = *from;
        }
    }

    fn handle(&mut self, queue: usize, chain: &Chain<'_>, _: &Counters) -> Result<u32, BadChain> {
        if queue != RECEIVE {
            return Ok(0);
        }
        let (bytes, length) = self.packet(chain.writable().len());
        chain.writable().copy_from(0, &bytes)?;
        Ok(length as u32)
    }
}

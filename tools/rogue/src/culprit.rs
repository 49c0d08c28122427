// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A network device (virtio 1.3, section 5.1) that does one certain thing wrong, and nothing else.

use clap::ValueEnum;
use shunt::chain::{BadChain, Chain};
use shunt::counters::Counters;
use shunt::virtio_device::VirtioDevice;
use virtio_spec::features::Features;
use virtio_spec::net::{self, feature, Config, Header, ACK_OK};
use zerocopy::{FromZeros, IntoBytes};

/// Queues of one pair: the control queue is the third.
const RECEIVE: usize = 0;
const CONTROL: usize = 2;
/// As many as a driver may want that believes in more pairs.
const SIZES: [u16; 5] = [64; 5];

const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x67];

/// Most pairs that a device may have (section 5.1.5): its control queue would be number 0x10000.
const MOST_PAIRS: u16 = 0x8000;

/// One less than the least MTU that a device may have: section 5.1.4.1.
const SMALL_MTU: u16 = 67;

/// Bytes of an Ethernet header that are in a packet's first buffer, and what is in the second one.
const BEGUN: usize = 7;
const REST: usize = 60;

/// What it does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wrong {
    /// An Ethernet header is in two buffers.
    SplitHeader,
    /// It has more pairs of queues than queues have numbers.
    ManyPairs,
    /// Its MTU is too small.
    SmallMtu,
    /// It answers no command before it is reset.
    SilentControl,
}

pub(crate) struct Culprit {
    wrong: Wrong,
    offer: Features,
    /// How often a driver has agreed on features.
    sessions: u64,
    /// Receive buffers that were filled.
    filled: u64,
}

impl Culprit {
    /// Offers these features besides its own.
    pub(crate) fn new(wrong: Wrong, offer: Features) -> Self {
        Self {
            wrong,
            offer,
            sessions: 0,
            filled: 0,
        }
    }

    /// What the next receive buffer gets: the beginning of a packet, or its end.
    fn part(&mut self) -> Vec<u8> {
        self.filled += 1;
        if self.filled % 2 == 0 {
            return vec![0; REST];
        }
        let header = Header {
            num_buffers: 2.into(),
            ..Header::default()
        };
        [header.as_bytes(), &[0; BEGUN]].concat()
    }
}

impl VirtioDevice for Culprit {
    fn device_id(&self) -> u32 {
        net::DEVICE_ID.into()
    }

    fn features(&self) -> u64 {
        let special = match self.wrong {
            Wrong::SplitHeader => feature::MRG_RXBUF,
            Wrong::ManyPairs => feature::CTRL_VQ.with(feature::MQ),
            Wrong::SmallMtu => feature::MTU,
            Wrong::SilentControl => feature::CTRL_VQ
                .with(feature::CTRL_RX)
                .with(feature::CTRL_MAC_ADDR),
        };
        self.offer.with(feature::MAC).with(special).bits()
    }

    fn set_features(&mut self, _: Features) {
        self.sessions += 1;
    }

    fn queue_sizes(&self) -> &[u16] {
        &SIZES
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let mut config = Config::new_zeroed();
        config.mac = MAC;
        config.max_virtqueue_pairs = MOST_PAIRS.into();
        config.mtu = SMALL_MTU.into();
        let bytes = config.as_bytes().iter().skip(offset as usize);
        for (to, from) in data.iter_mut().zip(bytes) {
            *to = *from;
        }
    }

    fn room_needed(&mut self, queue: usize) -> Option<u32> {
        let is_used = match (queue, self.wrong) {
            (RECEIVE, wrong) => wrong == Wrong::SplitHeader,
            (CONTROL, Wrong::SilentControl) => self.sessions > 1,
            _ => true,
        };
        is_used.then_some(0)
    }

    fn handle(&mut self, queue: usize, chain: &Chain<'_>, _: &Counters) -> Result<u32, BadChain> {
        let bytes = match queue {
            RECEIVE => self.part(),
            CONTROL => vec![ACK_OK],
            _ => vec![],
        };
        chain.writable().copy_from(0, &bytes)?;
        Ok(bytes.len() as u32)
    }
}

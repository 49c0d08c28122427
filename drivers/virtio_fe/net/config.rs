// SPDX-License-Identifier: GPL-2.0-only

//! What a network device says of itself: section 5.1.

use crate::{
    module_parameters,
    virtqueue, //
};
use core::mem::offset_of;
use kernel::{
    cpu,
    prelude::*, //
};
use netdev::{
    Link,
    Offloads, //
};
use virtio_spec::{
    features::Features,
    net::{
        feature,
        status,
        Config as Layout, //
    }, //
};
use virtio_transport::{
    read_config,
    Transport,
    Window, //
};

/// Offset of a field of the configuration.
macro_rules! field {
    ($field:ident) => {
        offset_of!(Layout, $field)
    };
}

/// The least MTU that a device may have: section 5.1.4.1.
const MIN_MTU: u16 = 68;

/// Large packets that are received.
const GUEST_TSO: Features = feature::GUEST_TSO4
    .with(feature::GUEST_TSO6)
    .with(feature::GUEST_ECN);

/// Large packets that are sent.
const HOST_TSO: Features = feature::HOST_TSO4
    .with(feature::HOST_TSO6)
    .with(feature::HOST_ECN);

/// What the control queue is for.
const CONTROL: Features = feature::CTRL_RX
    .with(feature::CTRL_MAC_ADDR)
    .with(feature::MQ);

/// Features, and those that are of no use without them: section 5.1.3.1. Large packets that are
/// received need buffers that are merged, for us.
const NEEDED: [(Features, Features); 4] = [
    (feature::CSUM, HOST_TSO),
    (feature::GUEST_CSUM, GUEST_TSO),
    (feature::MRG_RXBUF, GUEST_TSO),
    (feature::CTRL_VQ, CONTROL),
];

/// The features that this driver wants of those that are offered. Some devices offer what is of no
/// use.
pub(super) fn wanted(offered: Features) -> Features {
    let all = virtqueue::wanted()
        .with(feature::CSUM)
        .with(HOST_TSO)
        .with(feature::GUEST_CSUM)
        .with(GUEST_TSO)
        .with(feature::MRG_RXBUF)
        .with(feature::MTU)
        .with(feature::MAC)
        .with(feature::STATUS)
        .with(feature::SPEED_DUPLEX)
        .with(feature::CTRL_VQ)
        .with(CONTROL)
        .with(Features::RING_RESET);
    NEEDED
        .into_iter()
        .filter(|(needed, _)| !offered.has(*needed))
        .fold(all, |wanted, (_, useless)| wanted.without(useless))
}

/// Whether packets may arrive that are larger than the MTU.
pub(super) fn receives_large(features: Features) -> bool {
    features.has(feature::GUEST_TSO4) || features.has(feature::GUEST_TSO6)
}

/// What the configuration said when the device was set up.
pub(super) struct Config {
    /// Its MAC address.
    pub(super) mac: Option<[u8; 6]>,
    /// Its MTU, if it has one.
    pub(super) mtu: Option<u16>,
    /// Pairs of queues that the device has. The control queue follows them.
    pub(super) max_pairs: u16,
    /// Pairs of queues to use.
    pub(super) pairs: u16,
}

impl Config {
    /// Reads what these features say is there.
    ///
    /// # Errors
    ///
    /// - `EIO`: it changes all the time.
    /// - `EINVAL`: it cannot be right.
    pub(super) fn read(transport: &impl Transport, features: Features) -> Result<Self> {
        let config = read_config(transport, |window| {
            let max_pairs = match features.has(feature::MQ) {
                true => window.read16(field!(max_virtqueue_pairs)),
                false => 1,
            };
            Self {
                mac: features.has(feature::MAC).then(|| mac(window)),
                mtu: features
                    .has(feature::MTU)
                    .then(|| window.read16(field!(mtu))),
                max_pairs,
                pairs: max_pairs.min(pairs_wanted()),
            }
        })?;
        // Section 5.1.5.
        let is_valid = (1..=0x8000).contains(&config.max_pairs);
        if is_valid && config.mtu.is_none_or(|mtu| mtu >= MIN_MTU) {
            Ok(config)
        } else {
            Err(EINVAL)
        }
    }
}

fn mac(window: &Window) -> [u8; 6] {
    core::array::from_fn(|index| window.read8(field!(mac) + index))
}

/// As many as there are CPUs, or as the user wants.
fn pairs_wanted() -> u16 {
    let cpus = u16::try_from(cpu::nr_cpu_ids()).unwrap_or(u16::MAX);
    match module_parameters::queues.value() {
        0 => cpus,
        wanted => wanted.min(cpus),
    }
}

/// Whether the link is up; it is, where nothing is said of it.
pub(super) fn is_link_up(transport: &impl Transport, features: Features) -> bool {
    !features.has(feature::STATUS)
        || transport.config().read16(field!(status)) & status::LINK_UP != 0
}

/// Speed and duplex.
pub(super) fn link(transport: &impl Transport, features: Features) -> Link {
    match features.has(feature::SPEED_DUPLEX) {
        true => Link {
            speed: transport.config().read32(field!(speed)),
            duplex: transport.config().read8(field!(duplex)),
        },
        false => Link {
            speed: u32::MAX,
            duplex: u8::MAX,
        },
    }
}

/// What the device does with packets.
pub(super) fn offloads(features: Features) -> Offloads {
    [
        (feature::CSUM, Offloads::TX_CSUM),
        (feature::HOST_TSO4, Offloads::TX_TSO4),
        (feature::HOST_TSO6, Offloads::TX_TSO6),
        (feature::HOST_ECN, Offloads::TX_TSO_ECN),
        (feature::GUEST_CSUM, Offloads::RX_CSUM),
        (feature::CTRL_RX, Offloads::UNICAST_FILTER),
    ]
    .into_iter()
    .filter(|(feature, _)| features.has(*feature))
    .fold(Offloads::default(), |all, (_, offload)| all.with(offload))
}

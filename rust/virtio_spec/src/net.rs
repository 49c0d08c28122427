// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Network devices: section 5.1. A packet in a transmit or a receive queue is a [`Header`] and the
//! frame.

use zerocopy::little_endian::{
    U16,
    U32, //
};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout, //
};

/// Device type.
pub const DEVICE_ID: u16 = 1;

/// Feature bits: 5.1.3.
pub mod feature {
    use crate::features::Features;

    /// The device completes checksums.
    pub const CSUM: Features = Features::bit(0);
    /// The driver takes packets with partial checksums.
    pub const GUEST_CSUM: Features = Features::bit(1);
    /// Offloads of the receive side can be switched.
    pub const CTRL_GUEST_OFFLOADS: Features = Features::bit(2);
    /// [`super::Config::mtu`] is there.
    pub const MTU: Features = Features::bit(3);
    /// [`super::Config::mac`] is there.
    pub const MAC: Features = Features::bit(5);
    /// The driver takes TCP segments over IPv4 that are larger than the MTU.
    pub const GUEST_TSO4: Features = Features::bit(7);
    /// The same over IPv6.
    pub const GUEST_TSO6: Features = Features::bit(8);
    /// The same with ECN.
    pub const GUEST_ECN: Features = Features::bit(9);
    /// The device cuts TCP segments over IPv4.
    pub const HOST_TSO4: Features = Features::bit(11);
    /// The same over IPv6.
    pub const HOST_TSO6: Features = Features::bit(12);
    /// The same with ECN.
    pub const HOST_ECN: Features = Features::bit(13);
    /// A packet may take several receive buffers.
    pub const MRG_RXBUF: Features = Features::bit(15);
    /// [`super::Config::status`] is there.
    pub const STATUS: Features = Features::bit(16);
    /// There is a control queue.
    pub const CTRL_VQ: Features = Features::bit(17);
    /// It switches receive modes.
    pub const CTRL_RX: Features = Features::bit(18);
    /// It filters VLANs.
    pub const CTRL_VLAN: Features = Features::bit(19);
    /// The device may ask for a gratuitous packet.
    pub const GUEST_ANNOUNCE: Features = Features::bit(21);
    /// There are several pairs of queues.
    pub const MQ: Features = Features::bit(22);
    /// The control queue sets the MAC address.
    pub const CTRL_MAC_ADDR: Features = Features::bit(23);
    /// [`super::Config::speed`] and [`super::Config::duplex`] are there.
    pub const SPEED_DUPLEX: Features = Features::bit(63);
}

/// `struct virtio_net_config`: 5.1.4, up to the duplex. A field is there if its feature was
/// offered.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Config {
    /// MAC address.
    pub mac: [u8; 6],
    /// Bits of [`status`].
    pub status: U16,
    /// Most pairs of a receive and a transmit queue.
    pub max_virtqueue_pairs: U16,
    /// Largest MTU that the driver is to use.
    pub mtu: U16,
    /// Mbit/s; unknown above 2^31 - 1.
    pub speed: U32,
    /// 0 half, 1 full, else unknown.
    pub duplex: u8,
}

/// Bits of [`Config::status`].
pub mod status {
    /// The link is up.
    pub const LINK_UP: u16 = 1;
    /// Announce yourself.
    pub const ANNOUNCE: u16 = 2;
}

/// `struct virtio_net_hdr`: 5.1.6.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Header {
    /// Bits of [`header_flag`].
    pub flags: u8,
    /// One of [`gso`].
    pub gso_type: u8,
    /// Bytes of the headers of a packet to be cut.
    pub hdr_len: U16,
    /// Bytes of payload of each piece.
    pub gso_size: U16,
    /// Where checksumming begins.
    pub csum_start: U16,
    /// Where from there the checksum goes.
    pub csum_offset: U16,
    /// Buffers that a received packet takes; else 0.
    pub num_buffers: U16,
}

/// Bits of [`Header::flags`].
pub mod header_flag {
    /// The checksum is to be completed.
    pub const NEEDS_CSUM: u8 = 1;
    /// The checksum is right.
    pub const DATA_VALID: u8 = 2;
}

/// What is to be cut: [`Header::gso_type`].
pub mod gso {
    /// Nothing.
    pub const NONE: u8 = 0;
    /// TCP over IPv4.
    pub const TCPV4: u8 = 1;
    /// UDP over IPv4, as fragments.
    pub const UDP: u8 = 3;
    /// TCP over IPv6.
    pub const TCPV6: u8 = 4;
    /// UDP, as datagrams.
    pub const UDP_L4: u8 = 5;
    /// Beside TCP: with ECN.
    pub const ECN: u8 = 0x80;
}

/// What begins a command in the control queue: 5.1.6.5. The device answers with a byte, [`ACK_OK`]
/// or [`ACK_ERR`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Control {
    /// One of [`control`].
    pub class: u8,
    /// The command among those of its class.
    pub command: u8,
}

/// A command was carried out.
pub const ACK_OK: u8 = 0;
/// A command was not.
pub const ACK_ERR: u8 = 1;

/// Commands: class and command.
pub mod control {
    use super::Control;

    const fn new(class: u8, command: u8) -> Control {
        Control { class, command }
    }

    /// Receive everything: a byte, 0 or 1.
    pub const RX_PROMISC: Control = new(0, 0);
    /// Receive all multicast: a byte, 0 or 1.
    pub const RX_ALLMULTI: Control = new(0, 1);
    /// Receive these addresses: two tables, unicast and multicast, each `le32 entries` and 6
    /// bytes for each.
    pub const MAC_TABLE_SET: Control = new(1, 0);
    /// Set the MAC address: 6 bytes.
    pub const MAC_ADDR_SET: Control = new(1, 1);
    /// Receive a VLAN: `le16`.
    pub const VLAN_ADD: Control = new(2, 0);
    /// Do not receive it any more: `le16`.
    pub const VLAN_DEL: Control = new(2, 1);
    /// The announcement was made.
    pub const ANNOUNCE_ACK: Control = new(3, 0);
    /// Use so many pairs of queues: `le16`.
    pub const MQ_VQ_PAIRS_SET: Control = new(4, 0);
    /// Use these offloads of the receive side: `le64`, feature bits.
    pub const GUEST_OFFLOADS_SET: Control = new(5, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn fields_are_where_linux_has_them() {
        assert_eq!(offset_of!(Config, status), 6);
        assert_eq!(offset_of!(Config, mtu), 10);
        assert_eq!(offset_of!(Config, duplex), 16);
        assert_eq!(size_of::<Config>(), 17);
        assert_eq!(offset_of!(Header, gso_size), 4);
        assert_eq!(offset_of!(Header, num_buffers), 10);
        assert_eq!(size_of::<Header>(), 12);
    }
}

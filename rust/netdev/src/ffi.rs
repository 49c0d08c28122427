// SPDX-License-Identifier: GPL-2.0-only

//! Declarations of `helpers.h`. The C files assert the same sizes and offsets as this one.

use core::mem::{
    offset_of,
    size_of, //
};
use kernel::{
    bindings,
    ffi::{
        c_int,
        c_void, //
    }, //
};
use virtio_ring::segment::Segment;
use virtio_spec::net::Header;

macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[repr(C)]
        pub(crate) struct $name {
            _opaque: [u8; 0],
        }
    )*};
}

opaque! {
    /// `struct shunt_netdev`.
    Netdev;
    /// `struct page_pool`.
    PagePool;
}

/// `struct shunt_rx_mode`.
#[repr(C)]
pub(crate) struct RawRxMode {
    pub(crate) unicast: *const [u8; 6],
    pub(crate) multicast: *const [u8; 6],
    pub(crate) unicast_count: u32,
    pub(crate) multicast_count: u32,
    pub(crate) promiscuous: bool,
    pub(crate) all_multicast: bool,
}

/// Totals since the device was made: `struct shunt_stats`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Stats {
    /// Packets that were handed up.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Packets for which there was no memory.
    pub rx_dropped: u64,
    /// Packets that could not be right.
    pub rx_errors: u64,
    /// Packets that the device was given.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Packets that it could not be given.
    pub tx_dropped: u64,
}

/// What the link is: `struct shunt_link`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Link {
    /// Mbit/s; all ones if unknown.
    pub speed: u32,
    /// 0 half, 1 full, else unknown.
    pub duplex: u8,
}

/// `struct shunt_netdev_ops`.
#[repr(C)]
pub(crate) struct Ops {
    pub(crate) open: unsafe extern "C" fn(*mut c_void) -> c_int,
    pub(crate) start_xmit: unsafe extern "C" fn(*mut c_void, u32, *mut bindings::sk_buff, bool),
    pub(crate) poll: unsafe extern "C" fn(*mut c_void, u32, c_int) -> c_int,
    pub(crate) set_rx_mode: unsafe extern "C" fn(*mut c_void, *const RawRxMode) -> c_int,
    pub(crate) set_mac: unsafe extern "C" fn(*mut c_void, *const [u8; 6]) -> c_int,
    pub(crate) set_pairs: unsafe extern "C" fn(*mut c_void, u32) -> c_int,
    pub(crate) timed_out: unsafe extern "C" fn(*mut c_void, u32),
    pub(crate) stats: unsafe extern "C" fn(*mut c_void, *mut Stats),
    pub(crate) link: unsafe extern "C" fn(*mut c_void, *mut Link),
    pub(crate) ring_size: unsafe extern "C" fn(*mut c_void, bool) -> u32,
    pub(crate) counter_names: *const [u8; 32],
    pub(crate) counters: u32,
    pub(crate) read_counters: unsafe extern "C" fn(*mut c_void, u32, *mut u64),
}

/// `struct shunt_netdev_settings`.
#[repr(C)]
pub(crate) struct RawSettings {
    pub(crate) mac: [u8; 6],
    pub(crate) has_mac: bool,
    pub(crate) mtu: u32,
    pub(crate) max_mtu: u32,
    pub(crate) offloads: u32,
    pub(crate) pairs: u32,
}

/// Most pieces of a packet.
pub const MAX_SEGMENTS: usize = bindings::CONFIG_MAX_SKB_FRAGS as usize + 1;

/// `struct shunt_packet_map`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct RawPacketMap {
    pub(crate) count: u32,
    pub(crate) segments: [Segment; MAX_SEGMENTS],
}

const _: () = {
    assert!(size_of::<RawRxMode>() == 32);
    assert!(offset_of!(RawRxMode, unicast_count) == 16);
    assert!(offset_of!(RawRxMode, promiscuous) == 24);
    assert!(size_of::<Stats>() == 56);
    assert!(size_of::<Link>() == 8);
    assert!(size_of::<Ops>() == 104);
    assert!(offset_of!(Ops, poll) == 16);
    assert!(offset_of!(Ops, counter_names) == 80);
    assert!(offset_of!(Ops, read_counters) == 96);
    assert!(size_of::<RawSettings>() == 24);
    assert!(offset_of!(RawSettings, mtu) == 8);
    assert!(size_of::<Segment>() == 16);
    assert!(offset_of!(Segment, length) == 8);
    assert!(offset_of!(RawPacketMap, segments) == 8);
    assert!(size_of::<Header>() == 12);
    assert!(offset_of!(Header, num_buffers) == 10);
};

extern "C" {
    pub(crate) fn shunt_netdev_alloc(
        parent: *mut c_void,
        ops: *const Ops,
        pairs: u32,
    ) -> *mut Netdev;
    pub(crate) fn shunt_netdev_free(device: *mut Netdev);
    pub(crate) fn shunt_netdev_register(
        device: *mut Netdev,
        data: *mut c_void,
        settings: *const RawSettings,
    ) -> c_int;
    pub(crate) fn shunt_netdev_unregister(device: *mut Netdev);

    pub(crate) fn shunt_netdev_lock(device: *mut Netdev) -> bool;
    pub(crate) fn shunt_netdev_unlock();
    pub(crate) fn shunt_netdev_pause(device: *mut Netdev);
    pub(crate) fn shunt_netdev_resume(device: *mut Netdev);
    pub(crate) fn shunt_netdev_set_carrier(device: *mut Netdev, up: bool);
    pub(crate) fn shunt_netdev_mac(device: *mut Netdev, mac: *mut [u8; 6]);
    pub(crate) fn shunt_netdev_pairs(device: *mut Netdev) -> u32;
    pub(crate) fn shunt_netdev_repeat_rx_mode(device: *mut Netdev) -> c_int;

    pub(crate) fn shunt_napi_claim(device: *mut Netdev, pair: u32) -> bool;
    pub(crate) fn shunt_napi_schedule(device: *mut Netdev, pair: u32);
    pub(crate) fn shunt_napi_done(device: *mut Netdev, pair: u32, work: c_int) -> bool;

    pub(crate) fn shunt_tx_lock(device: *mut Netdev, pair: u32);
    pub(crate) fn shunt_tx_unlock(device: *mut Netdev, pair: u32);
    pub(crate) fn shunt_tx_borrow(device: *mut Netdev, pair: u32) -> bool;
    pub(crate) fn shunt_tx_return(device: *mut Netdev, pair: u32);
    pub(crate) fn shunt_tx_stop(device: *mut Netdev, pair: u32);
    pub(crate) fn shunt_tx_wake(device: *mut Netdev, pair: u32);
    pub(crate) fn shunt_tx_is_stopped(device: *mut Netdev, pair: u32) -> bool;

    pub(crate) fn shunt_skb_take(
        skb: *mut bindings::sk_buff,
        dev: *mut c_void,
        head: *mut Segment,
    ) -> c_int;
    pub(crate) fn shunt_skb_map(
        skb: *mut bindings::sk_buff,
        dev: *mut c_void,
        head: *const Segment,
        map: *mut RawPacketMap,
    ) -> c_int;
    pub(crate) fn shunt_skb_unmap(
        skb: *mut bindings::sk_buff,
        dev: *mut c_void,
        map: *const RawPacketMap,
    );
    pub(crate) fn shunt_skb_consume(skb: *mut bindings::sk_buff, budget: c_int);
    pub(crate) fn shunt_skb_drop(skb: *mut bindings::sk_buff);

    pub(crate) fn shunt_pool_create(
        device: *mut Netdev,
        pair: u32,
        dev: *mut c_void,
        pages: u32,
    ) -> *mut PagePool;
    pub(crate) fn page_pool_destroy(pool: *mut PagePool);
    pub(crate) fn shunt_pool_alloc(pool: *mut PagePool, bytes: u32, addr: *mut u64) -> *mut c_void;
    pub(crate) fn shunt_fragment_free(start: *mut c_void);
    pub(crate) fn shunt_fragment_receive(start: *mut c_void, offset: u32, len: u32);

    pub(crate) fn shunt_skb_build(
        start: *mut c_void,
        room: u32,
        offset: u32,
        len: u32,
    ) -> *mut bindings::sk_buff;
    pub(crate) fn shunt_skb_append(
        skb: *mut bindings::sk_buff,
        start: *mut c_void,
        room: u32,
        offset: u32,
        len: u32,
    ) -> bool;
    pub(crate) fn shunt_skb_receive(
        device: *mut Netdev,
        pair: u32,
        skb: *mut bindings::sk_buff,
        header: *const Header,
    ) -> bool;
    pub(crate) fn shunt_skb_room(bytes: u32) -> u32;
}

// SPDX-License-Identifier: GPL-2.0-only

//! Network devices with queues of their own for each CPU: the abstraction over `struct net_device`,
//! `struct napi_struct`, `struct sk_buff` and `struct page_pool`.
//!
//! A driver implements [`Operations`], makes a [`Device`] and keeps a [`Registration`]. A device
//! has pairs of a receive and a transmit queue; what the driver keeps for each belongs to who may
//! touch the queue at the moment:
//!
//! ```text
//! start_xmit       the queue's transmit lock is held        &mut Transmit
//! Poll::transmit   NAPI has taken that lock                 &mut Transmit
//! with_transmit    who has the device locked, too           &mut Transmit
//! poll             NAPI runs for the pair                   &mut Receive
//! Device::claim    an interrupt: NAPI is to run, and        &mut Receive
//!                  does not yet
//! open, Paused     NAPI is off, nobody transmits            both
//! ```
//!
//! This crate is the only place where a network driver touches C. Nothing here knows what moves
//! the packets; but offloads are described as the kernel itself describes them to its peers, by
//! `struct virtio_net_hdr`.

mod counter;
mod device;
mod ffi;
mod operations;
mod packet;
mod pool;
mod registration;

pub use counter::Counter;
pub use device::{
    Device,
    Locked,
    NewPair,
    Paused, //
};
pub use ffi::{
    Link,
    Stats, //
};
pub use operations::{
    Done,
    Operations,
    Poll,
    RxMode,
    TransmitGuard, //
};
pub use packet::{
    PacketMap,
    SkBuff,
    Taken,
    MAX_SEGMENTS, //
};
pub use pool::{
    room,
    Fragment,
    Pool,
    Received, //
};
pub use registration::{
    Offloads,
    Registration,
    Settings, //
};

// SPDX-License-Identifier: GPL-2.0-only

//! A guest's front-end for virtio devices, with rings of its own.
//!
//! ```text
//! bus            pci.rs, mmio.rs        finds devices, and gives each a transport
//! device         device.rs              what a device is for
//! queue          virtqueue.rs           a virtqueue, from its memory to its doorbell
//! recovery       recovery.rs            a device that has to be reset, or sleeps
//! disk           block.rs               from features to a disk, and back
//!   configuration  block/config.rs      what the device says of itself
//!   request        block/request.rs     what goes to the device for a request
//!   queue          block/queue.rs       requests into the ring, and out of it
//!   recovery       block/recover.rs     requests when the device is reset
//! interface      net.rs                 from features to a network interface, and back
//!   configuration  net/config.rs        what the device says of itself
//!   operations     net/operations.rs    what the network stack asks for
//!   receive        net/receive.rs       memory into the ring, packets out of it
//!   transmit       net/transmit.rs      packets into the ring, and out of it
//!   control        net/control.rs       filters, addresses, number of queues
//!   counters       net/counters.rs
//!   recovery       net/recover.rs       packets when the device is reset, and the link
//! ```
//!
//! Rings are in `virtio_ring`, formats in `virtio_spec`, everything unsafe in `virtio_transport`,
//! `blk_mq` and `netdev`. Documentation/virtio_fe.md describes the whole.

#![forbid(unsafe_code)]

mod block;
mod device;
mod mmio;
mod net;
mod pci;
mod recovery;
mod virtqueue;

use kernel::{
    driver,
    platform,
    prelude::*,
    InPlaceModule, //
};
use virtio_transport::WithSleep;

module! {
    type: VirtioFe,
    name: "virtio_fe",
    authors: ["Shunt developers"],
    description: "Guest front-end for virtio devices",
    license: "GPL",
    params: {
        packed: bool {
            default: true,
            description: "Use packed virtqueues where the device has them",
        },
        event_idx: bool {
            default: true,
            description: "Use the event index where the device has it",
        },
        indirect: bool {
            default: true,
            description: "Use indirect descriptors where the device has them",
        },
        in_order: bool {
            default: true,
            description: "Take buffers back in order where the device offers it",
        },
        queue_size: u16 {
            default: 256,
            description: "Most descriptors of a virtqueue, a power of two",
        },
        queues: u16 {
            default: 0,
            description: "Most queues of a device; 0 is one for each CPU",
        },
        timeout: u32 {
            default: 30,
            description: "Seconds after which a device that has not answered is reset",
        },
    },
}

#[pin_data]
struct VirtioFe {
    #[pin]
    _pci: driver::Registration<WithSleep<kernel::pci::Adapter<pci::Driver>>>,
    #[pin]
    _mmio: driver::Registration<WithSleep<platform::Adapter<mmio::Driver>>>,
}

impl InPlaceModule for VirtioFe {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _pci <- driver::Registration::new(c"virtio_fe", module),
            _mmio <- driver::Registration::new(c"virtio_fe", module),
        })
    }
}

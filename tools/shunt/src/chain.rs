// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A request's buffers: a descriptor chain, checked.

use vm_memory::VolatileSlice;

/// The buffers of one request. Every byte lies in guest memory, and the parts that the device
/// reads come before those that it writes. How the driver cut them into descriptors means
/// nothing (virtio 1.3, section 2.7.4).
#[derive(Debug)]
pub struct Chain<'m> {
    readable: Vec<VolatileSlice<'m>>,
    writable: Vec<VolatileSlice<'m>>,
}

/// Why a descriptor chain is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadChain {
    /// The writable part is shorter than what must go there.
    NoRoom {
        /// Bytes there are.
        writable: u64,
        /// Bytes needed.
        needed: u64,
    },
}

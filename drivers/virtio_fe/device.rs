// SPDX-License-Identifier: GPL-2.0-only

//! What a device is for.

use crate::{
    block::Disk,
    net::Interface, //
};
use kernel::{
    device,
    prelude::*, //
};
use virtio_spec::{
    blk,
    net, //
};
use virtio_transport::Transport;

/// Name of a directory in debugfs, before the device's.
pub(crate) const DIRECTORY: &str = "virtio_fe";

/// A device with this driver, until this is dropped.
pub(crate) enum Device<T: Transport> {
    /// A disk.
    Block(#[expect(dead_code, reason = "owns the disk")] Disk<T>),
    /// A network interface.
    Network(#[expect(dead_code, reason = "owns the interface")] Interface<T>),
}

impl<T: Transport> Device<T> {
    /// Sets up a device of this kind (section 5).
    ///
    /// # Errors
    ///
    /// `ENODEV`: this driver has nothing for it; and those of each kind.
    pub(crate) fn new(
        parent: &device::Device<device::Bound>,
        transport: T,
        kind: u16,
    ) -> Result<Self> {
        match kind {
            blk::DEVICE_ID => Ok(Self::Block(Disk::new(parent, transport)?)),
            net::DEVICE_ID => Ok(Self::Network(Interface::new(parent, transport)?)),
            _ => Err(ENODEV),
        }
    }
}

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
use virtio_transport::{
    Sleep,
    Transport, //
};

/// Name of a directory in debugfs, before the device's.
pub(crate) const DIRECTORY: &str = "virtio_fe";

/// A device with this driver, until this is dropped.
pub(crate) enum Device<T: Transport> {
    /// A disk.
    Block(Disk<T>),
    /// A network interface.
    Network(Interface<T>),
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

impl<T: Transport> Sleep for Device<T> {
    fn suspend(&self) {
        match self {
            Self::Block(disk) => disk.suspend(),
            Self::Network(interface) => interface.suspend(),
        }
    }

    fn wake(&self) {
        match self {
            Self::Block(disk) => disk.wake(),
            Self::Network(interface) => interface.wake(),
        }
    }
}

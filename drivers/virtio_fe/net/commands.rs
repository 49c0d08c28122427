// SPDX-License-Identifier: GPL-2.0-only

//! What the device is told while it works, as far as there are features for it.

use super::{
    control::Control,
    Network, //
};
use crate::recovery::Recover;
use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};
use netdev::RxMode;
use virtio_spec::{
    features::Features,
    net::feature, //
};
use virtio_transport::Transport;

impl<T: Transport> Network<T> {
    /// Has a command carried out that needs this feature. Without it, only the kernel knows.
    fn command(&self, needed: Features, command: impl FnOnce(&mut Control) -> Result) -> Result {
        match &mut *self.control.lock() {
            Some(control) if self.session.features.has(needed) => command(control),
            _ => Ok(()),
        }
    }

    /// Has the device use the pairs that the kernel uses.
    pub(super) fn tell_pairs(&self, pairs: u16) -> Result {
        self.command(feature::MQ, |control| control.set_pairs(pairs))
    }

    /// Has it use this address.
    pub(super) fn tell_mac(&self, mac: [u8; 6]) -> Result {
        self.command(feature::CTRL_MAC_ADDR, |control| control.set_mac(mac))
    }

    /// Has it filter packets.
    pub(super) fn tell_rx_mode(&self, mode: &RxMode<'_>) -> Result {
        self.command(feature::CTRL_RX, |control| control.set_rx_mode(mode))
    }

    /// What became of a command: a device that did not answer is reset.
    pub(super) fn judge(this: ArcBorrow<'_, Self>, result: Result) -> Result {
        if let Err(EIO | ETIMEDOUT) = result {
            Arc::from(this).call_for_reset();
        }
        result
    }
}

// SPDX-License-Identifier: GPL-2.0-only

//! When the kernel sees a network device.

use crate::{
    ffi,
    operations::Operations, //
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::Arc, //
};

/// What the device does with packets, as bits.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Offloads(u32);

impl Offloads {
    /// It completes checksums, and takes packets in pieces.
    pub const TX_CSUM: Self = Self(1);
    /// It cuts TCP segments over IPv4.
    pub const TX_TSO4: Self = Self(2);
    /// It cuts TCP segments over IPv6.
    pub const TX_TSO6: Self = Self(4);
    /// It does so with ECN.
    pub const TX_TSO_ECN: Self = Self(8);
    /// It checks checksums.
    pub const RX_CSUM: Self = Self(16);
    /// It filters unicast addresses.
    pub const UNICAST_FILTER: Self = Self(32);

    /// These and `others`.
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

/// What a device is when it is registered.
pub struct Settings {
    /// Its MAC address; without, it has a random one.
    pub mac: Option<[u8; 6]>,
    /// Bytes of a packet behind the Ethernet header, to begin with.
    pub mtu: u32,
    /// The most of them.
    pub max_mtu: u32,
    /// What it does with packets.
    pub offloads: Offloads,
    /// Pairs that are used.
    pub pairs: u32,
}

/// A device that the kernel sees, until this is dropped.
///
/// # Invariants
///
/// The device of `driver` is registered, with `driver` as its data.
pub struct Registration<T: Operations>(Arc<T>);

impl<T: Operations> Registration<T> {
    /// Lets the kernel see the device.
    ///
    /// # Errors
    ///
    /// The kernel does not want it.
    pub fn new(driver: Arc<T>, settings: &Settings) -> Result<Self> {
        let raw = ffi::RawSettings {
            mac: settings.mac.unwrap_or_default(),
            has_mac: settings.mac.is_some(),
            mtu: settings.mtu,
            max_mtu: settings.max_mtu,
            offloads: settings.offloads.0,
            pairs: settings.pairs,
        };
        let data = Arc::as_ptr(&driver).cast_mut().cast();
        // SAFETY: The device is allocated and not registered; its functions are for this data,
        // which is there until the device has been unregistered.
        to_result(unsafe {
            ffi::shunt_netdev_register(driver.device().as_raw(), data, &raw const raw)
        })?;
        // INVARIANT: It was just registered.
        Ok(Self(driver))
    }
}

impl<T: Operations> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { ffi::shunt_netdev_unregister(self.0.device().as_raw()) };
    }
}

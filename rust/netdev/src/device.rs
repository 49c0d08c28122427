// SPDX-License-Identifier: GPL-2.0-only

//! Network devices, and who may touch what of them.

use crate::{
    ffi,
    operations::{
        Operations,
        Table, //
    },
    pool::Pool, //
};
use core::{
    cell::UnsafeCell,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    device,
    error::to_result,
    prelude::*, //
};

/// What the driver keeps of a pair. The crate's documentation says who may touch it.
pub(crate) struct Pair<T: Operations> {
    pub(crate) receive: UnsafeCell<T::Receive>,
    pub(crate) transmit: UnsafeCell<T::Transmit>,
}

/// The owner of a `struct net_device`.
struct Owned(NonNull<ffi::Netdev>);

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: It was allocated, and is not registered any more.
        unsafe { ffi::shunt_netdev_free(self.0.as_ptr()) };
    }
}

/// A network device: `struct net_device`.
///
/// # Invariants
///
/// `raw` is valid and has as many pairs as `pairs`.
pub struct Device<T: Operations> {
    /// Dropped first: pools use a NAPI of the device.
    pairs: KVec<Pair<T>>,
    raw: Owned,
}

// SAFETY: Any thread may own a network device, and what it has of each pair.
unsafe impl<T: Operations> Send for Device<T> {}

// SAFETY: What there is of a pair is touched by one thread at a time, as the documentation of the
// crate says; all else may be called by any.
unsafe impl<T: Operations> Sync for Device<T> {}

/// A pair of which the driver's part is still to be made.
pub struct NewPair<'a> {
    device: &'a Owned,
    index: u32,
}

impl NewPair<'_> {
    /// Its number.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// A pool for its receive queue, for so many fragments of `bytes`, which divide a page. With
    /// `dma`, they are mapped for that device.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn pool(&self, dma: Option<&device::Device>, bytes: u32, fragments: u32) -> Result<Pool> {
        // SAFETY: The device is valid, has this pair, and outlives what is made for it.
        unsafe { Pool::new(self.device.0.as_ptr(), self.index, dma, bytes, fragments) }
    }
}

impl<T: Operations> Device<T> {
    /// A device with this number of pairs, each as `make` says, that nobody sees yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and those of `make`.
    pub fn new(
        parent: &device::Device,
        pairs: u32,
        mut make: impl FnMut(NewPair<'_>) -> Result<(T::Receive, T::Transmit)>,
    ) -> Result<Self> {
        let parent = crate::packet::raw_device(Some(parent));
        // SAFETY: `parent` is valid; the table is static.
        let raw = unsafe { ffi::shunt_netdev_alloc(parent, &Table::<T>::OPS, pairs) };
        let raw = Owned(NonNull::new(raw).ok_or(ENOMEM)?);
        // Made before the pairs, so that it is dropped after them.
        let mut made = KVec::with_capacity(pairs as usize, GFP_KERNEL)?;
        for index in 0..pairs {
            let (receive, transmit) = make(NewPair {
                device: &raw,
                index,
            })?;
            let pair = Pair {
                receive: UnsafeCell::new(receive),
                transmit: UnsafeCell::new(transmit),
            };
            made.push(pair, GFP_KERNEL)?;
        }
        Ok(Self { pairs: made, raw })
    }

    #[inline]
    pub(crate) fn as_raw(&self) -> *mut ffi::Netdev {
        self.raw.0.as_ptr()
    }

    #[inline]
    pub(crate) fn pair(&self, index: u32) -> Option<&Pair<T>> {
        self.pairs.get(index as usize)
    }

    /// For an interrupt: if NAPI does not run for this pair already, has `prepare` done and lets it
    /// run. Whether that is so.
    #[inline]
    pub fn claim(&self, index: u32, prepare: impl FnOnce(&mut T::Receive)) -> bool {
        let Some(pair) = self.pair(index) else {
            return false;
        };
        // SAFETY: The device has this pair.
        if !unsafe { ffi::shunt_napi_claim(self.as_raw(), index) } {
            return false;
        }
        // SAFETY: NAPI is claimed and does not run yet.
        prepare(unsafe { &mut *pair.receive.get() });
        // SAFETY: It was claimed.
        unsafe { ffi::shunt_napi_schedule(self.as_raw(), index) };
        true
    }

    /// Stops the transmit queue of this pair, for which the caller holds its lock.
    #[inline]
    pub fn stop(&self, index: u32) {
        if self.pair(index).is_some() {
            // SAFETY: The device has this pair.
            unsafe { ffi::shunt_tx_stop(self.as_raw(), index) };
        }
    }

    /// Lets the transmit queue of this pair go on.
    #[inline]
    pub fn wake(&self, index: u32) {
        if self.pair(index).is_some() {
            // SAFETY: The device has this pair.
            unsafe { ffi::shunt_tx_wake(self.as_raw(), index) };
        }
    }

    /// Whether the transmit queue of this pair is stopped.
    #[inline]
    pub fn is_stopped(&self, index: u32) -> bool {
        // SAFETY: The device has this pair.
        self.pair(index).is_some() && unsafe { ffi::shunt_tx_is_stopped(self.as_raw(), index) }
    }

    /// Says whether there is a link.
    pub fn set_carrier(&self, up: bool) {
        // SAFETY: The device is valid.
        unsafe { ffi::shunt_netdev_set_carrier(self.as_raw(), up) };
    }

    /// Keeps all others from changing the device. `None` if it is not registered.
    pub fn lock(&self) -> Option<Locked<'_, T>> {
        // SAFETY: The device is valid.
        unsafe { ffi::shunt_netdev_lock(self.as_raw()) }.then(|| Locked(self))
    }
}

/// The lock of all network devices, `rtnl_lock`, with a registered one of them.
pub struct Locked<'a, T: Operations>(&'a Device<T>);

impl<T: Operations> Drop for Locked<'_, T> {
    fn drop(&mut self) {
        // SAFETY: We have the lock.
        unsafe { ffi::shunt_netdev_unlock() };
    }
}

impl<'a, T: Operations> Locked<'a, T> {
    /// Its MAC address.
    pub fn mac(&self) -> [u8; 6] {
        let mut mac = [0; 6];
        // SAFETY: The device is valid, and its address has six bytes.
        unsafe { ffi::shunt_netdev_mac(self.0.as_raw(), &raw mut mac) };
        mac
    }

    /// Pairs that are used.
    pub fn used_pairs(&self) -> u32 {
        // SAFETY: The device is valid.
        unsafe { ffi::shunt_netdev_pairs(self.0.as_raw()) }
    }

    /// Calls [`Operations::set_rx_mode`] once more.
    ///
    /// # Errors
    ///
    /// Its own.
    pub fn repeat_rx_mode(&self) -> Result {
        // SAFETY: The device is registered and locked.
        to_result(unsafe { ffi::shunt_netdev_repeat_rx_mode(self.0.as_raw()) })
    }

    /// Lends what the driver keeps of a transmit queue, to which nobody else gets meanwhile. `None`:
    /// there is no such queue, or the device is down.
    pub fn with_transmit<R>(
        &mut self,
        index: u32,
        work: impl FnOnce(&mut T::Transmit) -> R,
    ) -> Option<R> {
        let (raw, pair) = (self.0.as_raw(), self.0.pair(index)?);
        // SAFETY: The device is registered and locked, and has this pair.
        if !unsafe { ffi::shunt_tx_borrow(raw, index) } {
            return None;
        }
        // SAFETY: We have the lock of this transmit queue. It is not paused, as that takes us away.
        let result = work(unsafe { &mut *pair.transmit.get() });
        // SAFETY: We have the lock.
        unsafe { ffi::shunt_tx_return(raw, index) };
        Some(result)
    }

    /// Stands all queues still, if they do not yet, until they are resumed.
    pub fn pause(self) -> Paused<'a, T> {
        // SAFETY: The device is registered and locked.
        unsafe { ffi::shunt_netdev_pause(self.0.as_raw()) };
        Paused(self)
    }
}

/// A locked device whose queues stand still, and do so even when this is dropped.
pub struct Paused<'a, T: Operations>(Locked<'a, T>);

impl<'a, T: Operations> Deref for Paused<'a, T> {
    type Target = Locked<'a, T>;

    fn deref(&self) -> &Locked<'a, T> {
        &self.0
    }
}

impl<T: Operations> Paused<'_, T> {
    /// What the driver keeps of each pair.
    pub fn pairs(&mut self) -> impl Iterator<Item = (&mut T::Receive, &mut T::Transmit)> + '_ {
        self.0 .0.pairs.iter().map(|pair| {
            // SAFETY: NAPI is off, nobody transmits, and we are borrowed.
            unsafe { (&mut *pair.receive.get(), &mut *pair.transmit.get()) }
        })
    }

    /// Lets all go on as before.
    pub fn resume(self) {
        // SAFETY: The device is registered, locked and paused.
        unsafe { ffi::shunt_netdev_resume(self.0 .0.as_raw()) };
    }
}

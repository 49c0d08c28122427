// SPDX-License-Identifier: GPL-2.0-only

//! What a network driver provides.

use crate::{
    ffi,
    packet::SkBuff,
    Device,
    Link,
    Stats, //
};
use core::{
    marker::PhantomData,
    ops::{
        Deref,
        DerefMut, //
    },
    ptr::NonNull, //
};
use kernel::{
    bindings,
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    sync::ArcBorrow, //
};

/// What the receiver is to let through, beside packets to the device's own address. Of a kind with
/// more than 64 addresses none is named, and all packets are let through.
pub struct RxMode<'a> {
    /// Packets to these addresses, at most 64.
    pub unicast: &'a [[u8; 6]],
    /// And to these, at most 64.
    pub multicast: &'a [[u8; 6]],
    /// All packets.
    pub promiscuous: bool,
    /// All multicast packets.
    pub all_multicast: bool,
}

/// What NAPI has done.
pub enum Done {
    /// So many packets, and there are no more: interrupts are on.
    All(i32),
    /// There may be more.
    Some,
}

/// A driver of network devices.
pub trait Operations: Sized + Send + Sync + 'static {
    /// What the driver keeps of a receive queue.
    type Receive: Send;

    /// What the driver keeps of a transmit queue.
    type Transmit: Send;

    /// Names of the counters of a pair, each of up to 31 bytes with zeroes behind.
    const COUNTERS: &'static [[u8; 32]];

    /// The device that the driver's data belongs to.
    fn device(&self) -> &Device<Self>;

    /// The device is to go up. NAPI, which is off, is on and runs afterwards.
    ///
    /// # Errors
    ///
    /// It does not go up.
    fn open<'a>(&self, receivers: impl Iterator<Item = &'a mut Self::Receive>) -> Result
    where
        Self: 'a;

    /// Sends a packet, or drops it. If more are to follow, another call comes at once, or the queue
    /// has been stopped by this one.
    fn start_xmit(
        this: ArcBorrow<'_, Self>,
        queue: &mut Self::Transmit,
        index: u32,
        packet: SkBuff,
        more: bool,
    );

    /// Receives packets, up to the budget.
    fn poll(this: ArcBorrow<'_, Self>, queue: &mut Self::Receive, poll: &Poll<'_, Self>) -> Done;

    /// Filters packets.
    ///
    /// # Errors
    ///
    /// The device cannot.
    fn set_rx_mode(this: ArcBorrow<'_, Self>, mode: &RxMode<'_>) -> Result;

    /// Has another address.
    ///
    /// # Errors
    ///
    /// The device cannot.
    fn set_mac(this: ArcBorrow<'_, Self>, mac: [u8; 6]) -> Result;

    /// Uses this number of pairs, at least one and at most all.
    ///
    /// # Errors
    ///
    /// The device cannot.
    fn set_pairs(this: ArcBorrow<'_, Self>, pairs: u32) -> Result;

    /// A transmit queue has been stopped for long.
    fn timed_out(this: ArcBorrow<'_, Self>, index: u32);

    /// Counts all.
    fn stats(&self) -> Stats;

    /// The link.
    fn link(&self) -> Link;

    /// Descriptors of a transmit queue, or of a receive queue.
    fn ring_size(&self, transmit: bool) -> u32;

    /// The counters of a pair, as many as there are names.
    fn counters(&self, index: u32, values: &mut [u64]);
}

/// A run of NAPI for one pair.
pub struct Poll<'a, T: Operations> {
    device: &'a Device<T>,
    pair: u32,
    budget: i32,
}

impl<'a, T: Operations> Poll<'a, T> {
    /// The device.
    #[inline]
    pub fn device(&self) -> &'a Device<T> {
        self.device
    }

    /// The number of the pair.
    #[inline]
    pub fn pair(&self) -> u32 {
        self.pair
    }

    /// Most packets to be received.
    #[inline]
    pub fn budget(&self) -> i32 {
        self.budget
    }

    /// What the driver keeps of the transmit queue. `None` if there is none.
    #[inline]
    pub fn transmit(&self) -> Option<TransmitGuard<'a, T>> {
        let device = self.device;
        let index = self.pair;
        device.pair(index)?;
        // SAFETY: The device has this pair, and NAPI runs, so that there are no softirqs.
        unsafe { ffi::shunt_tx_lock(device.as_raw(), index) };
        Some(TransmitGuard { device, index })
    }
}

/// The lock of a transmit queue.
pub struct TransmitGuard<'a, T: Operations> {
    device: &'a Device<T>,
    index: u32,
}

impl<T: Operations> TransmitGuard<'_, T> {
    fn get(&self) -> *mut T::Transmit {
        let pair = self.device.pair(self.index);
        pair.map_or(core::ptr::null_mut(), |pair| pair.transmit.get())
    }
}

impl<T: Operations> Deref for TransmitGuard<'_, T> {
    type Target = T::Transmit;

    fn deref(&self) -> &T::Transmit {
        // SAFETY: The device has this pair, and we have the lock of its transmit queue.
        unsafe { &*self.get() }
    }
}

impl<T: Operations> DerefMut for TransmitGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T::Transmit {
        // SAFETY: As above.
        unsafe { &mut *self.get() }
    }
}

impl<T: Operations> Drop for TransmitGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: We have the lock.
        unsafe { ffi::shunt_tx_unlock(self.device.as_raw(), self.index) };
    }
}

/// The functions that C calls.
pub(crate) struct Table<T>(PhantomData<T>);

impl<T: Operations> Table<T> {
    pub(crate) const OPS: ffi::Ops = ffi::Ops {
        open: Self::open,
        start_xmit: Self::start_xmit,
        poll: Self::poll,
        set_rx_mode: Self::set_rx_mode,
        set_mac: Self::set_mac,
        set_pairs: Self::set_pairs,
        timed_out: Self::timed_out,
        stats: Self::stats,
        link: Self::link,
        ring_size: Self::ring_size,
        counter_names: T::COUNTERS.as_ptr(),
        counters: T::COUNTERS.len() as u32,
        read_counters: Self::read_counters,
    };

    /// # Safety
    ///
    /// `data` is what a [`Registration`](crate::Registration) of `T` registered, and still does.
    unsafe fn driver<'a>(data: *mut c_void) -> ArcBorrow<'a, T> {
        // SAFETY: As the caller promises; it lives as long as the device is registered.
        unsafe { ArcBorrow::from_raw(data.cast::<T>()) }
    }

    /// # Safety
    ///
    /// As [`Self::driver`], and what else C hands over is valid during the call.
    unsafe extern "C" fn open(data: *mut c_void) -> c_int {
        // SAFETY: As the callers of this function promise.
        let driver = unsafe { Self::driver(data) };
        let pairs = (0..).map_while(|index| driver.device().pair(index));
        // SAFETY: NAPI is off, and the device cannot go up or down meanwhile; each is lent once.
        let receivers = pairs.map(|pair| unsafe { &mut *pair.receive.get() });
        result(driver.open(receivers))
    }

    /// # Safety
    ///
    /// As [`Self::driver`], and what else C hands over is valid during the call.
    unsafe extern "C" fn start_xmit(
        data: *mut c_void,
        index: u32,
        skb: *mut bindings::sk_buff,
        more: bool,
    ) {
        // SAFETY: As the callers of this function promise.
        let driver = unsafe { Self::driver(data) };
        let (Some(pair), Some(skb)) = (driver.device().pair(index), NonNull::new(skb)) else {
            return;
        };
        // SAFETY: The packet is ours now.
        let packet = unsafe { SkBuff::from_raw(skb) };
        // SAFETY: The caller holds the lock of this transmit queue.
        let queue = unsafe { &mut *pair.transmit.get() };
        T::start_xmit(driver, queue, index, packet, more);
    }

    /// # Safety
    ///
    /// As [`Self::driver`], and what else C hands over is valid during the call.
    unsafe extern "C" fn poll(data: *mut c_void, index: u32, budget: c_int) -> c_int {
        // SAFETY: As the callers of this function promise.
        let driver = unsafe { Self::driver(data) };
        let device = driver.device();
        let Some(pair) = device.pair(index) else {
            return 0;
        };
        let poll = Poll {
            device,
            pair: index,
            budget,
        };
        // SAFETY: NAPI runs for this pair, and that in one thread at a time.
        match T::poll(driver, unsafe { &mut *pair.receive.get() }, &poll) {
            Done::All(packets) if packets < budget => {
                // SAFETY: NAPI runs for this pair. If it is to run again, it is scheduled by that.
                unsafe { ffi::shunt_napi_done(device.as_raw(), index, packets) };
                packets
            }
            _ => budget,
        }
    }

    /// # Safety
    ///
    /// As [`Self::driver`], and what else C hands over is valid during the call.
    unsafe extern "C" fn set_rx_mode(data: *mut c_void, mode: *const ffi::RawRxMode) -> c_int {
        // SAFETY: `mode` is valid during the call, and so are its addresses.
        let mode = unsafe {
            let mode = &*mode;
            RxMode {
                unicast: core::slice::from_raw_parts(mode.unicast, mode.unicast_count as usize),
                multicast: core::slice::from_raw_parts(
                    mode.multicast,
                    mode.multicast_count as usize,
                ),
                promiscuous: mode.promiscuous,
                all_multicast: mode.all_multicast,
            }
        };
        // SAFETY: As the callers of this function promise.
        let driver = unsafe { Self::driver(data) };
        result(T::set_rx_mode(driver, &mode))
    }

    /// # Safety
    ///
    /// As [`Self::driver`], and what else C hands over is valid during the call.
    unsafe extern "C" fn set_mac(data: *mut c_void, mac: *const [u8; 6]) -> c_int {
        // SAFETY: As the callers of this function promise; the address is valid.
        let (driver, mac) = unsafe { (Self::driver(data), *mac) };
        result(T::set_mac(driver, mac))
    }

    /// # Safety
    ///
    /// As [`Self::driver`], and what else C hands over is valid during the call.
    unsafe extern "C" fn set_pairs(data: *mut c_void, pairs: u32) -> c_int {
        // SAFETY: As the callers of this function promise.
        let driver = unsafe { Self::driver(data) };
        result(T::set_pairs(driver, pairs))
    }

    /// # Safety
    ///
    /// As [`Self::driver`], and what else C hands over is valid during the call.
    unsafe extern "C" fn timed_out(data: *mut c_void, index: u32) {
        // SAFETY: As the callers of this function promise.
        T::timed_out(unsafe { Self::driver(data) }, index);
    }

    /// # Safety
    ///
    /// As [`Self::driver`], and what else C hands over is valid during the call.
    unsafe extern "C" fn stats(data: *mut c_void, stats: *mut Stats) {
        // SAFETY: As the callers of this function promise; C wants the values there.
        unsafe { *stats = Self::driver(data).stats() };
    }

    /// # Safety
    ///
    /// As [`Self::driver`], and what else C hands over is valid during the call.
    unsafe extern "C" fn link(data: *mut c_void, link: *mut Link) {
        // SAFETY: As above.
        unsafe { *link = Self::driver(data).link() };
    }

    /// # Safety
    ///
    /// As [`Self::driver`], and what else C hands over is valid during the call.
    unsafe extern "C" fn ring_size(data: *mut c_void, transmit: bool) -> u32 {
        // SAFETY: As the callers of this function promise.
        unsafe { Self::driver(data) }.ring_size(transmit)
    }

    /// # Safety
    ///
    /// As [`Self::driver`], and what else C hands over is valid during the call.
    unsafe extern "C" fn read_counters(data: *mut c_void, index: u32, values: *mut u64) {
        // SAFETY: There is room for as many values as there are names.
        let values = unsafe { core::slice::from_raw_parts_mut(values, T::COUNTERS.len()) };
        // SAFETY: As the callers of this function promise.
        unsafe { Self::driver(data) }.counters(index, values);
    }
}

/// As C has it.
fn result(result: Result) -> c_int {
    result.map_or_else(Error::to_errno, |()| 0)
}

// SPDX-License-Identifier: GPL-2.0-only

//! What all transports have in common: section 4, and the initialization of section 3.1.

use crate::{
    registers::{
        Doorbell,
        Window, //
    },
    vectors::{
        Plan,
        Vectors, //
    },
};
use kernel::{
    device::Device,
    prelude::*,
    sync::aref::ARef,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};
use virtio_spec::{
    features::Features,
    status, //
};

/// Where a queue is.
pub struct QueueSetup {
    /// Its number.
    pub queue: u16,
    /// Its descriptors.
    pub size: u16,
    /// Where its descriptor area, driver area and device area are, for the device.
    pub areas: [u64; 3],
}

/// A bus that a device is on.
pub trait Transport: Send + Sync + 'static {
    /// The device.
    fn device(&self) -> &ARef<Device>;

    /// The device status field.
    fn status(&self) -> u8;

    /// Writes the device status field; 0 resets the device.
    fn set_status(&self, status: u8);

    /// What the device offers.
    fn device_features(&self) -> Features;

    /// Accepts some of it.
    fn set_driver_features(&self, features: Features);

    /// Most descriptors of this queue; 0 if there is none.
    fn queue_size_max(&self, queue: u16) -> u16;

    /// Tells the device where a queue is and which interrupt it has, and enables it.
    ///
    /// # Errors
    ///
    /// - `EBUSY`: the queue is in use, or the device cannot have this interrupt.
    /// - `ENXIO`: its notification register is nowhere.
    fn enable_queue(&self, setup: &QueueSetup, plan: Plan, features: Features) -> Result<Doorbell>;

    /// With `VIRTIO_F_RING_RESET`, begins to reset a queue: section 2.6.1.
    fn begin_queue_reset(&self, queue: u16);

    /// Whether the device says that that is done.
    fn is_queue_reset(&self, queue: u16) -> bool;

    /// Whether a queue is in use.
    fn is_queue_enabled(&self, queue: u16) -> bool;

    /// Interrupts for this number of queues and for configuration changes, at best one for each.
    ///
    /// # Errors
    ///
    /// There are none, or no memory.
    fn vectors(&self, queues: u16) -> Result<Vectors>;

    /// Tells the device its interrupt for configuration changes.
    ///
    /// # Errors
    ///
    /// `EBUSY`: the device cannot have it.
    fn set_config_vector(&self, plan: Plan) -> Result;

    /// The device's own configuration.
    fn config(&self) -> &Window;

    /// Changes whenever the configuration does.
    fn config_generation(&self) -> u32;

    /// Whether the device is still there.
    fn is_present(&self) -> bool;

    /// Takes the access to memory from a device that cannot be reset, if the bus is able to.
    fn cut_off(&self);
}

/// A device that gives a new generation each time is not worth more attempts.
const READS_OF_CONFIG: u32 = 100;

/// Milliseconds that a device has for its reset, which most do at once.
const RESET_LIMIT: u32 = 5000;

/// Reads from the configuration what belongs together: section 2.5.3.
///
/// # Errors
///
/// `EIO`: it changes all the time.
pub fn read_config<R>(transport: &impl Transport, read: impl Fn(&Window) -> R) -> Result<R> {
    for _ in 0..READS_OF_CONFIG {
        let before = transport.config_generation();
        let value = read(transport.config());
        if transport.config_generation() == before {
            return Ok(value);
        }
    }
    Err(EIO)
}

/// Resets the device, and waits until that is done: sections 4.1.4.3.2 and 4.2.2.1. May sleep.
///
/// # Errors
///
/// `ETIMEDOUT`: it is not done in time; `ENODEV`: the device is gone.
pub(crate) fn reset(transport: &impl Transport) -> Result {
    transport.set_status(0);
    wait(transport, || transport.status() == 0)
}

/// Resets a queue alone, and waits until the device does not access it any more: section 2.6.1.
/// May sleep.
///
/// # Errors
///
/// As [`reset`], and `EIO`: it is still in use. The whole device has to be reset.
pub fn reset_queue(transport: &impl Transport, queue: u16) -> Result {
    transport.begin_queue_reset(queue);
    wait(transport, || transport.is_queue_reset(queue))?;
    match transport.is_queue_enabled(queue) {
        true => Err(EIO),
        false => Ok(()),
    }
}

/// Waits until the device has done something.
fn wait(transport: &impl Transport, is_done: impl Fn() -> bool) -> Result {
    for _ in 0..RESET_LIMIT {
        match is_done() {
            true => return Ok(()),
            false if !transport.is_present() => return Err(ENODEV),
            false => fsleep(Delta::from_millis(1)),
        }
    }
    Err(ETIMEDOUT)
}

/// Has the device not access memory any more: resets it, or if that fails, cuts it off.
///
/// # Errors
///
/// Those of [`reset`]. A bus that cannot cut it off leaves it as it is.
pub fn silence(transport: &impl Transport) -> Result {
    reset(transport).inspect_err(|_| transport.cut_off())
}

/// Resets the device and agrees with it on those of the `wanted` features that it offers: section
/// 3.1.1, up to step 6.
///
/// # Errors
///
/// As [`reset`], and `ENODEV`: it is a legacy device, or does not accept.
pub fn negotiate(transport: &impl Transport, wanted: Features) -> Result<Features> {
    reset(transport)?;
    let known = status::ACKNOWLEDGE | status::DRIVER;
    transport.set_status(known);
    let features = transport.device_features().and(wanted);
    transport.set_driver_features(features);
    transport.set_status(known | status::FEATURES_OK);
    let is_agreed = transport.status() & status::FEATURES_OK != 0;
    if !is_agreed || !features.has(Features::VERSION_1) {
        transport.set_status(known | status::FAILED);
        return Err(ENODEV);
    }
    Ok(features)
}

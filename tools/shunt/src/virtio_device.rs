// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What a virtio device is to its transport: an identity, a configuration, and the handling of
//! one request at a time; or of one message for the driver.

use std::os::fd::BorrowedFd;

use virtio_spec::features::Features;

use crate::chain::{BadChain, Chain};
use crate::counters::{add, Counters};
use crate::ring::RingError;

/// What every transport can do besides, if the device offers it.
pub const OPTIONAL_FEATURES: Features = Features::RING_PACKED
    .with(Features::IN_ORDER)
    .with(Features::NOTIFICATION_DATA);

/// A virtio device. Its transport, [`VirtioMmio`](crate::virtio_mmio::VirtioMmio), owns registers,
/// rings and interrupts.
pub trait VirtioDevice {
    /// Device id: virtio 1.3, section 5.
    fn device_id(&self) -> u32;

    /// Feature bits of the device type, and of [`OPTIONAL_FEATURES`] those that a driver may choose.
    /// The transport adds its own (`VIRTIO_F_VERSION_1`, `VIRTIO_F_INDIRECT_DESC`,
    /// `VIRTIO_F_EVENT_IDX`).
    fn features(&self) -> u64;

    /// Largest size of each queue: powers of two up to 32768, at most
    /// [`MAX_QUEUES`](crate::state::MAX_QUEUES) of them. The driver may choose smaller ones.
    fn queue_sizes(&self) -> &[u16];

    /// Reads the configuration space; bytes beyond its end are left as they are (zero). The
    /// transport asks for all of it when it publishes it: at first, after
    /// [`write_config`](Self::write_config), and after a change.
    fn read_config(&self, offset: u64, data: &mut [u8]);

    /// Writes the configuration space. Most devices have nothing writable there.
    fn write_config(&mut self, offset: u64, data: &[u8]) {
        let _ = (offset, data);
    }

    /// Whether the configuration space has changed by itself since the last call. Asked after
    /// requests; the driver is then told.
    fn take_config_change(&mut self) -> bool {
        false
    }

    /// The driver has chosen these of the features offered. Told again to a device that resumes.
    fn set_features(&mut self, features: Features) {
        let _ = features;
    }

    /// What becomes readable when there may be messages for the driver.
    fn input(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The queues whose buffers wait for messages that may be there since [`input`](Self::input)
    /// became readable; it says so once for each.
    fn ready_queues(&mut self) -> Vec<usize> {
        Vec::new()
    }

    /// How many writable bytes the next message for this queue needs, which is
    /// [handled](Self::handle) with as many of the driver's buffers; `None` if there is no message. The
    /// buffers of other queues are requests, one each, and need nothing.
    fn room_needed(&mut self, queue: usize) -> Option<u32> {
        let _ = queue;
        Some(0)
    }

    /// Whether the device cannot go on before the driver has reset it (`DEVICE_NEEDS_RESET`). Asked
    /// before each request; the driver may give that one again.
    fn must_reset(&mut self) -> bool {
        false
    }

    /// Carries out one request, whole, and answers how many bytes it wrote to the chain's
    /// writable part, counted from its beginning.
    ///
    /// After a crash of the device process the same request may come again: its effect must not
    /// depend on how often or how far it was carried out before.
    ///
    /// # Errors
    ///
    /// [`BadChain`] when the chain has not even room for an error status. The device then demands
    /// a reset.
    fn handle(
        &mut self,
        queue: usize,
        chain: &Chain<'_>,
        counters: &Counters,
    ) -> Result<u32, BadChain>;
}

/// Has `device` carry out a request, and counts it.
pub(crate) fn carry_out(
    device: &mut impl VirtioDevice,
    queue: usize,
    chain: &Chain<'_>,
    counters: &Counters,
) -> Result<u32, RingError> {
    if device.must_reset() {
        return Err(RingError::Device);
    }
    let length = device.handle(queue, chain, counters)?;
    add(&counters.requests, 1);
    Ok(length)
}

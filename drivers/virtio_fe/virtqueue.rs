// SPDX-License-Identifier: GPL-2.0-only

//! A virtqueue, from its memory to its doorbell.

use crate::module_parameters;
use kernel::{
    device,
    prelude::*, //
};
use virtio_ring::{
    driver::{
        Ring,
        Settings,
        Slot, //
    },
    memory::Areas, //
};
use virtio_spec::{
    features::Features,
    packed,
    split, //
};
use virtio_transport::{
    Access,
    DmaMemory,
    Doorbell,
    Plan,
    QueueSetup,
    Transport, //
};

/// The features of queues and transports that this driver knows, but for those that the user does
/// not want.
pub(crate) fn wanted() -> Features {
    let optional = [
        (Features::RING_PACKED, module_parameters::packed.value()),
        (Features::EVENT_IDX, module_parameters::event_idx.value()),
        (Features::INDIRECT_DESC, module_parameters::indirect.value()),
        (Features::IN_ORDER, module_parameters::in_order.value()),
    ];
    let always = Features::VERSION_1
        .with(Features::ACCESS_PLATFORM)
        .with(Features::ORDER_PLATFORM)
        .with(Features::NOTIFICATION_DATA);
    optional
        .into_iter()
        .filter(|(_, is_wanted)| *is_wanted)
        .fold(always, |features, (feature, _)| features.with(feature))
}

/// How a device with these features reaches memory.
pub(crate) fn access(features: Features) -> Access {
    match features.has(Features::ACCESS_PLATFORM) {
        true => Access::Platform,
        false => Access::Physical,
    }
}

/// A virtqueue of the device's, whose buffers are named by `T`.
pub(crate) struct Virtqueue<T> {
    /// What is in it.
    pub(crate) ring: Ring<DmaMemory, KVec<Slot<T>>>,
    /// Where it is.
    pub(crate) setup: QueueSetup,
    /// How to tell the device of it.
    pub(crate) doorbell: Doorbell,
}

impl<T> Virtqueue<T> {
    /// Makes a queue and enables it.
    ///
    /// # Errors
    ///
    /// `ENODEV`: there is no such queue; `ENOMEM`; those of [`Transport::enable_queue`].
    pub(crate) fn new(
        device: &device::Device<device::Bound>,
        transport: &impl Transport,
        plan: Plan,
        features: Features,
        number: u16,
    ) -> Result<Self> {
        let size = size(transport, features, number)?;
        let areas = areas(device, features, size)?;
        let setup = QueueSetup {
            queue: number,
            size,
            areas: [
                areas.descriptors.address(),
                areas.driver.address(),
                areas.device.address(),
            ],
        };
        let doorbell = transport.enable_queue(&setup, plan, features)?;
        Ok(Self {
            ring: ring(areas, features, number, size)?,
            setup,
            doorbell,
        })
    }

    /// Shows the device what has been added, and notifies it if it wants to be. Whether it did.
    #[inline]
    pub(crate) fn publish(&mut self) -> bool {
        let notification = self.ring.publish();
        notification
            .map(|notification| self.doorbell.ring(notification))
            .is_some()
    }
}

/// The size of a queue: what the device has, but at most what the user wants.
fn size(transport: &impl Transport, features: Features, queue: u16) -> Result<u16> {
    let most = transport.queue_size_max(queue).min(split::MAX_SIZE);
    let size = most.min(module_parameters::queue_size.value());
    match size {
        0 => Err(ENODEV),
        _ if features.has(Features::RING_PACKED) => Ok(size),
        // The next lower power of two.
        _ => Ok(1 << size.ilog2()),
    }
}

fn areas(
    device: &device::Device<device::Bound>,
    features: Features,
    size: u16,
) -> Result<Areas<DmaMemory>> {
    let bytes = match features.has(Features::RING_PACKED) {
        true => [packed::descriptor_area(size), packed::EVENT, packed::EVENT],
        false => [
            split::descriptor_area(size),
            split::driver_area(size),
            split::device_area(size),
        ],
    };
    let [descriptors, driver, device_area] = bytes;
    let access = access(features);
    Ok(Areas {
        descriptors: DmaMemory::new(device, access, descriptors)?,
        driver: DmaMemory::new(device, access, driver)?,
        device: DmaMemory::new(device, access, device_area)?,
    })
}

fn ring<T>(
    areas: Areas<DmaMemory>,
    features: Features,
    queue: u16,
    size: u16,
) -> Result<Ring<DmaMemory, KVec<Slot<T>>>> {
    let mut slots = KVec::with_capacity(size.into(), GFP_KERNEL)?;
    for _ in 0..size {
        slots.push(Slot::new(), GFP_KERNEL)?;
    }
    let settings = Settings {
        queue,
        size,
        features,
    };
    Ring::new(settings, areas, slots).map_err(|_| EINVAL)
}

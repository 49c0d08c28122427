// SPDX-License-Identifier: GPL-2.0-only

//! virtio-mmio, version 2: section 4.2.

use crate::{
    registers::{
        Doorbell,
        Form,
        Mapping,
        Window, //
    },
    transport::{
        QueueSetup,
        Transport, //
    },
    vectors::{
        Plan,
        Vectors, //
    },
};
use kernel::{
    device::{
        Core,
        Device, //
    },
    dma::{
        Device as _,
        DmaMask, //
    },
    platform,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};
use virtio_spec::{
    features::Features,
    mmio, //
};

/// A virtio-mmio device.
pub struct Mmio {
    registers: Window,
    config: Window,
    irq: u32,
    device: ARef<Device>,
}

impl Mmio {
    /// Maps the registers of a device, and says what kind it is (section 5): 0 if there is none.
    ///
    /// # Errors
    ///
    /// - `ENODEV`: it is a legacy device.
    /// - `EBUSY`, `ENOMEM`: the registers cannot be had.
    /// - `ENXIO`: it has no registers or no interrupt.
    pub fn new(device: &platform::Device<Core<'_>>) -> Result<(Self, u16)> {
        let resource = device.resource_by_index(0).ok_or(ENXIO)?;
        let bytes = usize::try_from(resource.size())?;
        let mapping = Mapping::of_resource(resource.start(), bytes)?;
        let registers = Window::whole(Arc::new(mapping, GFP_KERNEL)?);
        let is_modern = registers.read32(mmio::MAGIC_VALUE) == mmio::MAGIC
            && registers.read32(mmio::VERSION) == mmio::MODERN;
        if !is_modern {
            return Err(ENODEV);
        }
        // SAFETY: Nothing is allocated or mapped for the device yet.
        unsafe { device.dma_set_mask_and_coherent(DmaMask::new::<64>())? };
        let generic: &Device = device.as_ref();
        let kind = u16::try_from(registers.read32(mmio::DEVICE_ID))?;
        let this = Self {
            config: registers.rest(mmio::CONFIG).ok_or(ENXIO)?,
            registers,
            irq: device.irq_by_index(0)?.irq(),
            device: generic.into(),
        };
        Ok((this, kind))
    }

    fn select(&self, queue: u16) {
        self.registers.write32(mmio::QUEUE_SEL, queue.into());
    }
}

impl Transport for Mmio {
    fn device(&self) -> &ARef<Device> {
        &self.device
    }

    fn status(&self) -> u8 {
        self.registers.read32(mmio::STATUS) as u8
    }

    fn set_status(&self, status: u8) {
        self.registers.write32(mmio::STATUS, status.into());
    }

    fn device_features(&self) -> Features {
        let half = |select: u32| {
            self.registers.write32(mmio::DEVICE_FEATURES_SEL, select);
            u64::from(self.registers.read32(mmio::DEVICE_FEATURES))
        };
        Features::from_bits(half(0) | half(1) << 32)
    }

    fn set_driver_features(&self, features: Features) {
        for (select, half) in [(0, features.bits()), (1, features.bits() >> 32)] {
            self.registers.write32(mmio::DRIVER_FEATURES_SEL, select);
            self.registers.write32(mmio::DRIVER_FEATURES, half as u32);
        }
    }

    fn queue_size_max(&self, queue: u16) -> u16 {
        self.select(queue);
        u16::try_from(self.registers.read32(mmio::QUEUE_NUM_MAX)).unwrap_or(u16::MAX)
    }

    fn enable_queue(
        &self,
        setup: &QueueSetup,
        _plan: Plan,
        features: Features,
    ) -> Result<Doorbell> {
        if self.is_queue_enabled(setup.queue) {
            return Err(EBUSY);
        }
        self.registers.write32(mmio::QUEUE_NUM, setup.size.into());
        let places = [
            mmio::QUEUE_DESC_LOW,
            mmio::QUEUE_DRIVER_LOW,
            mmio::QUEUE_DEVICE_LOW,
        ];
        for (place, address) in places.into_iter().zip(setup.areas) {
            self.registers.write64(place, address);
        }
        self.registers.write32(mmio::QUEUE_READY, 1);
        let form = match features.has(Features::NOTIFICATION_DATA) {
            true => Form::Data,
            false => Form::Queue32,
        };
        let window = self.registers.part(mmio::QUEUE_NOTIFY, 4).ok_or(ENXIO)?;
        Ok(Doorbell::new(window, form, self.device.clone()))
    }

    fn begin_queue_reset(&self, queue: u16) {
        self.select(queue);
        self.registers.write32(mmio::QUEUE_RESET, 1);
    }

    /// Without such a register it reads 0, as with QEMU's devices.
    fn is_queue_reset(&self, queue: u16) -> bool {
        self.select(queue);
        self.registers.read32(mmio::QUEUE_RESET) == 0
    }

    fn is_queue_enabled(&self, queue: u16) -> bool {
        self.select(queue);
        self.registers.read32(mmio::QUEUE_READY) != 0
    }

    fn vectors(&self, queues: u16) -> Result<Vectors> {
        Vectors::of_line(self.irq, queues, self.registers.clone())
    }

    fn set_config_vector(&self, _plan: Plan) -> Result {
        Ok(())
    }

    fn config(&self) -> &Window {
        &self.config
    }

    fn config_generation(&self) -> u32 {
        self.registers.read32(mmio::CONFIG_GENERATION)
    }

    fn is_present(&self) -> bool {
        self.registers.read32(mmio::MAGIC_VALUE) == mmio::MAGIC
    }

    /// The bus has nothing for that.
    fn cut_off(&self) {}
}

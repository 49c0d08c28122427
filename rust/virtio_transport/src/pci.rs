// SPDX-License-Identifier: GPL-2.0-only

//! virtio-pci, modern: section 4.1.

use crate::{
    registers::{
        raw_pci,
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
use core::mem::offset_of;
use kernel::{
    bindings,
    device::{
        Core,
        Device, //
    },
    dma::{
        Device as _,
        DmaMask, //
    },
    io::Io,
    pci,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};
use virtio_spec::{
    features::Features,
    pci::{
        cfg_type,
        Capability,
        CommonConfig,
        NotifyCapability,
        CAPABILITY_ID,
        NO_VECTOR, //
    },
    pci_capabilities::capabilities, //
};

/// Offset of a field of the common configuration.
macro_rules! common {
    ($field:ident) => {
        offset_of!(CommonConfig, $field)
    };
}

/// The base address registers, each mapped when the first capability is in it.
#[derive(Default)]
struct Bars([Option<Arc<Mapping>>; 6]);

impl Bars {
    fn get(&mut self, device: &pci::Device, bar: u8) -> Result<Arc<Mapping>> {
        let place = self.0.get_mut(usize::from(bar)).ok_or(EINVAL)?;
        if place.is_none() {
            *place = Some(Arc::new(Mapping::of_bar(device, bar)?, GFP_KERNEL)?);
        }
        place.clone().ok_or(EINVAL)
    }
}

/// The first capability of each kind: section 4.1.4.
#[derive(Default)]
struct Found {
    common: Option<Window>,
    notify: Option<(Window, u32)>,
    isr: Option<Window>,
    device: Option<Window>,
}

impl Found {
    fn search(device: &pci::Device<Core<'_>>) -> Result<Self> {
        let (mut found, mut bars) = (Self::default(), Bars::default());
        let space = device.config_space();
        for at in capabilities(|at| space.try_read8(at.into()), CAPABILITY_ID)? {
            found.take(device, &mut bars, at?.into())?;
        }
        Ok(found)
    }

    /// Takes the capability at `at`, if it is one to know and the first of its kind.
    fn take(&mut self, device: &pci::Device<Core<'_>>, bars: &mut Bars, at: usize) -> Result {
        let space = device.config_space();
        let kind = space.try_read8(at + offset_of!(Capability, cfg_type))?;
        let is_new = match kind {
            cfg_type::COMMON => self.common.is_none(),
            cfg_type::NOTIFY => self.notify.is_none(),
            cfg_type::ISR => self.isr.is_none(),
            cfg_type::DEVICE => self.device.is_none(),
            _ => false,
        };
        if !is_new {
            return Ok(());
        }
        let bar = space.try_read8(at + offset_of!(Capability, bar))?;
        let offset = space.try_read32(at + offset_of!(Capability, offset))? as usize;
        let bytes = space.try_read32(at + offset_of!(Capability, length))? as usize;
        let window = Window::new(bars.get(device, bar)?, offset, bytes).ok_or(ENXIO)?;
        match kind {
            cfg_type::COMMON => self.common = Some(window),
            cfg_type::ISR => self.isr = Some(window),
            cfg_type::DEVICE => self.device = Some(window),
            _ => {
                let multiplier =
                    space.try_read32(at + offset_of!(NotifyCapability, notify_off_multiplier))?;
                self.notify = Some((window, multiplier));
            }
        }
        Ok(())
    }
}

/// A PCI device that is enabled until this is dropped.
struct Enabled(ARef<pci::Device>);

impl Enabled {
    fn new(device: &pci::Device<Core<'_>>) -> Result<Self> {
        device.enable_device_mem()?;
        let enabled = Self((&**device).into());
        device.set_master();
        // SAFETY: Nothing is allocated or mapped for the device yet.
        unsafe { device.dma_set_mask_and_coherent(DmaMask::new::<64>())? };
        Ok(enabled)
    }
}

impl Drop for Enabled {
    fn drop(&mut self) {
        // SAFETY: It is valid, and was enabled by us.
        unsafe { bindings::pci_disable_device(raw_pci(&self.0)) };
    }
}

/// A virtio-pci device.
pub struct Pci {
    common: Window,
    notify: Window,
    notify_multiplier: u32,
    isr: Window,
    config: Window,
    device: ARef<Device>,
    /// Disabled after all of its registers were given back.
    pci: Enabled,
}

impl Pci {
    /// Enables the device and maps its registers.
    ///
    /// # Errors
    ///
    /// - `ENODEV`: it has no modern interface.
    /// - `ENXIO`, `EINVAL`: a capability names what is not there.
    /// - `EBUSY`, `ENOMEM`: the registers cannot be had.
    pub fn new(device: &pci::Device<Core<'_>>) -> Result<Self> {
        let pci = Enabled::new(device)?;
        let found = Found::search(device)?;
        let (notify, notify_multiplier) = found.notify.ok_or(ENODEV)?;
        let generic: &Device = device.as_ref();
        Ok(Self {
            common: found.common.ok_or(ENODEV)?,
            notify,
            notify_multiplier,
            isr: found.isr.ok_or(ENODEV)?,
            config: found.device.ok_or(ENODEV)?,
            device: generic.into(),
            pci,
        })
    }

    fn select(&self, queue: u16) {
        self.common.write16(common!(queue_select), queue);
    }

    /// Has the device use this vector for the selected queue or for the configuration.
    fn set_vector(&self, register: usize, vector: u16) -> Result {
        self.common.write16(register, vector);
        let is_refused = vector != NO_VECTOR && self.common.read16(register) == NO_VECTOR;
        if is_refused {
            Err(EBUSY)
        } else {
            Ok(())
        }
    }

    /// The notification register of the selected queue: section 4.1.4.4.
    fn doorbell(&self, features: Features) -> Result<Doorbell> {
        let number = self.common.read16(common!(queue_notify_off));
        let offset = self.notify_multiplier as usize * usize::from(number);
        let (form, bytes) = match features.has(Features::NOTIFICATION_DATA) {
            true => (Form::Data, 4),
            false => (Form::Queue16, 2),
        };
        let window = self.notify.part(offset, bytes).ok_or(ENXIO)?;
        Ok(Doorbell::new(window, form, self.device.clone()))
    }
}

impl Transport for Pci {
    fn device(&self) -> &ARef<Device> {
        &self.device
    }

    fn status(&self) -> u8 {
        self.common.read8(common!(device_status))
    }

    fn set_status(&self, status: u8) {
        self.common.write8(common!(device_status), status);
    }

    fn device_features(&self) -> Features {
        let half = |select: u32| {
            self.common.write32(common!(device_feature_select), select);
            u64::from(self.common.read32(common!(device_feature)))
        };
        Features::from_bits(half(0) | half(1) << 32)
    }

    fn set_driver_features(&self, features: Features) {
        for (select, half) in [(0, features.bits()), (1, features.bits() >> 32)] {
            self.common.write32(common!(driver_feature_select), select);
            self.common.write32(common!(driver_feature), half as u32);
        }
    }

    fn queue_size_max(&self, queue: u16) -> u16 {
        if queue >= self.common.read16(common!(num_queues)) {
            return 0;
        }
        self.select(queue);
        self.common.read16(common!(queue_size))
    }

    fn enable_queue(&self, setup: &QueueSetup, plan: Plan, features: Features) -> Result<Doorbell> {
        if self.is_queue_enabled(setup.queue) {
            return Err(EBUSY);
        }
        self.common.write16(common!(queue_size), setup.size);
        self.set_vector(common!(queue_msix_vector), plan.queue(setup.queue))?;
        let places = [
            common!(queue_desc_lo),
            common!(queue_driver_lo),
            common!(queue_device_lo),
        ];
        for (place, address) in places.into_iter().zip(setup.areas) {
            self.common.write64(place, address);
        }
        let doorbell = self.doorbell(features)?;
        self.common.write16(common!(queue_enable), 1);
        Ok(doorbell)
    }

    fn begin_queue_reset(&self, queue: u16) {
        self.select(queue);
        self.common.write16(common!(queue_reset), 1);
    }

    fn is_queue_reset(&self, queue: u16) -> bool {
        self.select(queue);
        self.common.read16(common!(queue_reset)) == 0
    }

    fn is_queue_enabled(&self, queue: u16) -> bool {
        self.select(queue);
        self.common.read16(common!(queue_enable)) != 0
    }

    fn vectors(&self, queues: u16) -> Result<Vectors> {
        Vectors::of_pci(&self.pci.0, queues, &self.isr)
    }

    fn set_config_vector(&self, plan: Plan) -> Result {
        self.set_vector(common!(config_msix_vector), plan.config())
    }

    fn config(&self) -> &Window {
        &self.config
    }

    fn config_generation(&self) -> u32 {
        self.common.read8(common!(config_generation)).into()
    }

    fn is_present(&self) -> bool {
        // SAFETY: The device is valid.
        let is_there = unsafe { bindings::pci_device_is_present(raw_pci(&self.pci.0)) };
        // Not all status bits are ever set together.
        is_there && self.status() != u8::MAX
    }

    fn cut_off(&self) {
        // SAFETY: The device is valid, and enabled by us.
        unsafe { bindings::pci_clear_master(raw_pci(&self.pci.0)) };
    }
}

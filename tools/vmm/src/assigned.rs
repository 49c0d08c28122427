// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Devices of the host's that VFIO assigns to the guest.
//!
//! | of the device | what the guest gets | module |
//! |---|---|---|
//! | configuration space | the device's, as VFIO lets it through; BARs, MSI and MSI-X are ours | [`function`] |
//! | BARs | memory slots; the MSI-X table is ours, and what cannot be mapped goes by VFIO | [`bars`] |
//! | MSI, MSI-X | an eventfd each, from VFIO to a GSI of KVM's | [`signals`], [`vector`] |
//! | DMA | guest memory at guest physical addresses | here |
//!
//! With `irq=exitless`, exitless.ko delivers the interrupts, whenever it can ([`arming`]). I/O BARs,
//! expansion ROMs and interrupt pins are not there.

pub(crate) mod arming;
mod bars;
mod function;
pub(crate) mod signals;
pub(crate) mod spec;
pub(crate) mod vector;

use std::{path::Path, sync::Arc};

use anyhow::{ensure, Context, Result};
use kvm_ioctls::VmFd;
use vfio_ioctls::{VfioContainer, VfioDevice};
use vm_memory::GuestMemoryMmap;

use crate::{
    pci::{window::Window, Function},
    routes::Routes,
};
use arming::Arming;
use bars::Slots;
use function::Assigned;
use spec::DeviceSpec;
use vector::Wiring;

const DEVICES: &str = "/sys/bus/pci/devices";

/// Takes the devices that `specs` describe, and lets them reach the guest's memory.
///
/// # Errors
///
/// A device is not VFIO's, or cannot be had.
pub(crate) fn take(
    specs: &[DeviceSpec],
    vm: &Arc<VmFd>,
    memory: &GuestMemoryMmap,
    routes: &Arc<Routes>,
    window: &mut Window,
) -> Result<Vec<Box<dyn Function>>> {
    if specs.is_empty() {
        return Ok(Vec::new());
    }
    let container = VfioContainer::new(None).context("VFIO has no container for us")?;
    let container = Arc::new(container);
    let mut slots = Slots::default();
    let armings = Arming::for_devices(specs, vm);
    let mut devices = Vec::new();
    for (spec, arming) in specs.iter().zip(armings) {
        let device = open(spec, &container)?;
        let wiring = Wiring {
            vm: Arc::clone(vm),
            routes: Arc::clone(routes),
            arming,
        };
        let name = spec.name.clone();
        let function = Assigned::new(name, device, wiring, window, &mut slots)
            .with_context(|| format!("device {}", spec.name))?;
        devices.push(Box::new(function) as Box<dyn Function>);
    }
    // The container has an IOMMU when it has its first device.
    //
    // SAFETY: The machine drops the devices, and with them the container, before the memory, which is
    // one mapping that stays as it is; nobody makes references to what is in it.
    unsafe { container.vfio_map_guest_memory(memory) }
        .context("the devices' IOMMU does not take the guest's memory")?;
    Ok(devices)
}

fn open(spec: &DeviceSpec, container: &Arc<VfioContainer>) -> Result<VfioDevice> {
    let path = Path::new(DEVICES).join(&spec.name);
    ensure!(path.exists(), "there is no PCI device {}", spec.name);
    let container = Arc::clone(container);
    VfioDevice::new(&path, container, false)
        .with_context(|| format!("VFIO does not have {}: is vfio-pci its driver?", spec.name))
}

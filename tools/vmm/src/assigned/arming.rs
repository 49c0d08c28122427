// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! exitless.ko: who has it deliver a device's interrupts, and what it asks of the machine.
//!
//! A guest must not notice whether it does. So all refusals are told on stderr, and the interrupts go
//! the ordinary way.

use std::{
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
};

use anyhow::{Context, Result};
use exitless_vectors::uapi::EXITLESS_DELIVERY_ONLY;
use kvm_ioctls::VmFd;
use rustix::thread::{sched_getaffinity, CpuSet};
use shunt_irq::exitless::{Exitless, Refused};

use super::spec::{Delivery, DeviceSpec};

/// What arms the interrupts of one device. All of a VM share its file.
pub(crate) struct Arming {
    exitless: Arc<Exitless>,
    flags: u32,
}

impl Arming {
    /// That of each device which is to have its interrupts delivered so, if the module is there.
    pub(crate) fn for_devices(specs: &[DeviceSpec], vm: &VmFd) -> Vec<Option<Self>> {
        let file = wants_it(specs).then(|| Exitless::attach(vm.as_raw_fd()));
        let exitless = match file.transpose() {
            Ok(exitless) => exitless.map(Arc::new),
            Err(error) => {
                eprintln!("shunt-vmm: all interrupts are stock ones: {error:#}");
                None
            }
        };
        let arming = |spec: &DeviceSpec| {
            Some(Self {
                flags: flags(spec.delivery)?,
                exitless: Arc::clone(exitless.as_ref()?),
            })
        };
        specs.iter().map(arming).collect()
    }

    /// Has the interrupt that signals the eventfd delivered directly, from now on or whenever that
    /// becomes possible; yields its GSI.
    ///
    /// # Errors
    ///
    /// It is not possible, nor will it become so by itself.
    pub(super) fn arm(&self, eventfd: RawFd) -> Result<u32, Refused> {
        self.exitless.arm(eventfd, self.flags)
    }

    /// Ends that.
    ///
    /// # Errors
    ///
    /// It is not armed.
    pub(super) fn disarm(&self, gsi: u32) -> std::io::Result<()> {
        self.exitless.disarm(gsi)
    }
}

fn flags(delivery: Delivery) -> Option<u32> {
    match delivery {
        Delivery::Stock => None,
        Delivery::Exitless => Some(0),
        Delivery::ExitlessDeliveryOnly => Some(EXITLESS_DELIVERY_ONLY),
    }
}

/// Whether any device is to be armed.
pub(crate) fn wants_it(specs: &[DeviceSpec]) -> bool {
    specs.iter().any(|spec| spec.delivery != Delivery::Stock)
}

/// The CPU of each vCPU, if they must have one: the last of those that this process may use for the
/// first vCPU, and so on; the others are the watchdog's.
///
/// # Errors
///
/// The kernel does not tell which they are.
pub(crate) fn cpus(specs: &[DeviceSpec], vcpus: u8) -> Result<Vec<Option<usize>>> {
    if !wants_it(specs) {
        return Ok(vec![None; vcpus.into()]);
    }
    let set = sched_getaffinity(None).context("cannot tell which CPUs may be used")?;
    let usable = (0..CpuSet::MAX_CPU).rev().filter(|&cpu| set.is_set(cpu));
    let usable: Vec<_> = usable.map(Some).collect();
    Ok(usable.into_iter().cycle().take(vcpus.into()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_vcpus_with_such_interrupts_have_a_cpu() {
        let spec = |text: &str| text.parse::<DeviceSpec>().unwrap();
        let stock = [spec("vfio=00:03.0")];
        assert_eq!(cpus(&stock, 2).unwrap(), [None, None]);
        let both = [spec("vfio=00:03.0"), spec("vfio=00:04.0,irq=exitless")];
        let found = cpus(&both, 3).unwrap();
        assert!(found.len() == 3 && found.iter().all(Option::is_some));
    }
}

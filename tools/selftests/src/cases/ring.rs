// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What only channels in shared memory have.

pub(super) mod api;
pub(super) mod hostile;
pub(super) mod memory;
pub(super) mod room;
pub(super) mod sample;
pub(super) mod vcpus;
pub(super) mod wait;

use anyhow::{Context as _, Result};
use ioregion_wire::uapi::{KvmIoregion, KvmIoregionChannel};
use rawguest::{Asm, Machine, Vcpu};

use crate::channel::{open_ring, DeviceEnd, KvmEnd};
use crate::region::set;
use crate::ring::{RingDevice, USUAL};

/// A vCPU with this program, and the device behind one region.
struct Fixture {
    machine: Machine,
    vcpu: Vcpu,
    device: RingDevice,
    region: KvmIoregion,
}

fn fixture(
    dimensions: &KvmIoregionChannel,
    program: &Asm,
    region: impl FnOnce(&KvmEnd) -> KvmIoregion,
) -> Result<Fixture> {
    let machine = Machine::new()?;
    let (end, device) = open_ring(machine.fd(), dimensions)?;
    let region = region(&end);
    set(machine.fd(), &region).context("KVM_SET_IOREGION")?;
    Ok(Fixture {
        vcpu: machine.add_vcpu(program)?,
        machine,
        device,
        region,
    })
}

/// A ring of so many slots.
fn slots(slots: u32) -> KvmIoregionChannel {
    KvmIoregionChannel { slots, ..USUAL }
}

/// The device for [`crate::stage`].
fn end(device: RingDevice) -> DeviceEnd {
    DeviceEnd::Ring(device)
}

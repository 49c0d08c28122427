// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What most tests play with: one region, one vCPU, and the device behind the region.

use anyhow::{Context as _, Result};
use ioregion_wire::frame::Command;
use ioregion_wire::uapi::KvmIoregion;
use rawguest::{Asm, Machine, Vcpu};

use crate::channel::{self, DeviceEnd, KvmEnd, Transport};
use crate::region::{deassign, set};
use crate::stage::{play_to_the_end, Signals};

/// All of it.
pub(crate) struct Scene {
    pub(crate) machine: Machine,
    pub(crate) region: KvmIoregion,
    pub(crate) vcpu: Vcpu,
    pub(crate) device: DeviceEnd,
}

/// A vCPU with this program, and the region that is made of the channel's end, which is closed
/// then.
pub(crate) fn scene(
    transport: Transport,
    program: &Asm,
    region: impl FnOnce(&KvmEnd) -> KvmIoregion,
) -> Result<Scene> {
    scene_with_end(transport, program, region).map(|(scene, _)| scene)
}

/// The same with the end, for a region more.
pub(crate) fn scene_with_end(
    transport: Transport,
    program: &Asm,
    region: impl FnOnce(&KvmEnd) -> KvmIoregion,
) -> Result<(Scene, KvmEnd)> {
    let machine = Machine::new()?;
    let (end, device) = channel::open_on(machine.fd(), transport)?;
    let region = region(&end);
    set(machine.fd(), &region).context("KVM_SET_IOREGION")?;
    let vcpu = machine.add_vcpu(program)?;
    let scene = Scene {
        machine,
        region,
        vcpu,
        device,
    };
    Ok((scene, end))
}

impl Scene {
    /// Runs the guest to its end while the device answers. Returns all commands, in order.
    pub(crate) fn run(
        &mut self,
        signals: Signals,
        answer: impl FnMut(&Command) -> Result<u64> + Send,
    ) -> Result<Vec<Command>> {
        play_to_the_end(&mut self.vcpu, &mut self.device, signals, answer)
    }

    /// Removes the region and sets it anew with a fresh channel, and a fresh device behind it.
    pub(crate) fn replace_device(&mut self, transport: Transport) -> Result<()> {
        deassign(self.machine.fd(), &self.region).context("deassign")?;
        self.attach(transport)
    }

    /// Sets the region, which was removed, with a fresh channel.
    pub(crate) fn attach(&mut self, transport: Transport) -> Result<()> {
        let (end, device) = channel::open_on(self.machine.fd(), transport)?;
        self.region.read_fd = end.read_fd();
        self.region.write_fd = end.write_fd();
        self.region.flags &= !ioregion_wire::uapi::KVM_IOREGION_CHANNEL;
        self.region.flags |= end.flags();
        set(self.machine.fd(), &self.region).context("set the region anew")?;
        self.device = device;
        Ok(())
    }
}

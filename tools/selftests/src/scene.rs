// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What most tests play with: one region, one vCPU, and the device behind the region.

use anyhow::{Context as _, Result};
use ioregion_wire::frame::Command;
use ioregion_wire::uapi::{KvmIoregion, KVM_IOREGION_CHANNEL};
use rawguest::{Asm, Machine, Reg, Vcpu};

use crate::channel::{self, DeviceEnd, KvmEnd, Transport};
use crate::check::check_eq;
use crate::region::set;
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

    /// The guest of [`crate::guest::sum_of_reads`], whose earlier reads made `sum`, has one left: a
    /// fresh device answers it with 1.
    pub(crate) fn expect_healed(&mut self, sum: u64) -> Result<()> {
        let log = self.run(Signals::None, |_| Ok(1))?;
        check_eq!(log.len(), 1, "commands to the fresh device");
        check_eq!(self.vcpu.reg(Reg::Si)?, sum + 1, "sum");
        Ok(())
    }

    /// The same machine and vCPU with a fresh device behind a fresh channel. The region is gone.
    pub(crate) fn anew(
        machine: Machine,
        region: &KvmIoregion,
        vcpu: Vcpu,
        transport: Transport,
    ) -> Result<Self> {
        let (end, device) = channel::open_on(machine.fd(), transport)?;
        let region = KvmIoregion {
            read_fd: end.read_fd(),
            write_fd: end.write_fd(),
            flags: region.flags & !KVM_IOREGION_CHANNEL | end.flags(),
            ..*region
        };
        set(machine.fd(), &region).context("set the region anew")?;
        Ok(Self {
            machine,
            region,
            vcpu,
            device,
        })
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A guest with the device, on one CPU.

use std::fs;
use std::os::fd::AsRawFd;

use anyhow::{ensure, Context, Result};
use exitless_vectors::uapi::EXITLESS_UNWATCHED;
use kvm_bindings::{
    kvm_irq_routing_entry, kvm_irq_routing_entry__bindgen_ty_1, kvm_irq_routing_msi, KvmIrqRouting,
    KVM_IRQ_ROUTING_MSI,
};
use rawguest::{Access, Asm, Exit, Machine, Vcpu};
use rustix::thread::{sched_setaffinity, CpuSet, Pid};
use vmm_sys_util::eventfd::EventFd;

use crate::edu::Edu;
use crate::exitless::{Exitless, Refused};
use crate::guest::{self, MARK, REGISTERS, SEEN, SOFTWARE};

/// The irqfd's number.
pub(crate) const GSI: u32 = 24;
/// Vectors that the guest has a handler for: two that can be direct, and one that cannot. The device
/// has the first one to begin with.
pub(crate) const VECTORS: [u8; 3] = [0x24, 0x29, 0x45];
/// The memory slot of the device's registers.
const SLOT: u32 = 1;
/// The CPU of the vCPU.
const CPU: usize = 0;

/// Exits of a vCPU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exits {
    pub(crate) all: u64,
    /// Those for interrupts of the host's: of the device, and of a timer, which the longer a test
    /// takes comes the more often.
    pub(crate) for_interrupts: u64,
}

impl Exits {
    /// Those that the guest made.
    pub(crate) fn own(self) -> u64 {
        self.all - self.for_interrupts
    }
}

/// Everything. The vCPU has stopped at its first mark.
pub(crate) struct Scene {
    pub(crate) machine: Machine,
    pub(crate) vcpu: Vcpu,
    pub(crate) event: EventFd,
    pub(crate) edu: Edu,
    /// The machine has one CPU.
    pub(crate) is_alone: bool,
}

impl Scene {
    /// A guest that runs `program`, with handlers for [`VECTORS`].
    pub(crate) fn new(program: &Asm) -> Result<Self> {
        Self::with_device(0, program)
    }

    /// The same with another one of the devices.
    pub(crate) fn with_device(number: usize, program: &Asm) -> Result<Self> {
        pin(None, CPU)?;
        let edu = Edu::find(number)?;
        let machine = Machine::with_local_apics()?;
        machine.show_memory(SLOT, REGISTERS, &edu.registers)?;
        for vector in VECTORS {
            machine.add_handler(vector, &guest::handler())?;
        }
        machine.add_handler(SOFTWARE, &guest::software_handler())?;
        let vcpu = machine.add_vcpu(program)?;
        let event = EventFd::new(libc::EFD_CLOEXEC)?;
        let mut scene = Self {
            machine,
            vcpu,
            event,
            edu,
            is_alone: is_alone()?,
        };
        scene.route(VECTORS[0])?;
        let vm = scene.machine.fd();
        vm.register_irqfd(&scene.event, GSI).context("irqfd")?;
        scene.edu.device.set_msi(scene.event.as_raw_fd())?;
        scene.run_to_mark()?;
        Ok(scene)
    }

    /// Has the GSI raise this vector.
    pub(crate) fn route(&self, vector: u8) -> Result<()> {
        let msi = kvm_irq_routing_msi {
            address_lo: 0xfee0_0000,
            data: vector.into(),
            ..Default::default()
        };
        let entry = kvm_irq_routing_entry {
            gsi: GSI,
            type_: KVM_IRQ_ROUTING_MSI,
            u: kvm_irq_routing_entry__bindgen_ty_1 { msi },
            ..Default::default()
        };
        let routing = KvmIrqRouting::from_entries(&[entry])?;
        let vm = self.machine.fd();
        vm.set_gsi_routing(&routing).context("KVM_SET_GSI_ROUTING")
    }

    /// The VM's file of exitless.ko.
    pub(crate) fn attach(&self) -> Result<Exitless> {
        Exitless::attach(self.machine.fd().as_raw_fd())
    }

    /// Runs until the guest's next mark.
    pub(crate) fn run_to_mark(&mut self) -> Result<()> {
        let exit = self.vcpu.run_through_signals()?;
        let Exit::Access(Access::PortOut { port, .. }) = exit else {
            anyhow::bail!("unexpected exit {exit:x?}");
        };
        ensure!(port == MARK, "the guest wrote to port {port:#x}");
        Ok(())
    }

    /// Arms the interrupt, with a watchdog if there is a CPU for it.
    pub(crate) fn arm(&self, exitless: &Exitless, flags: u32) -> Result<u32, Refused> {
        let unwatched = if self.is_alone { EXITLESS_UNWATCHED } else { 0 };
        exitless.arm(self.event.as_raw_fd(), flags | unwatched)
    }

    /// Runs until the next mark; yields the vCPU's exits meanwhile.
    pub(crate) fn exits(&mut self) -> Result<Exits> {
        let before = self.all_exits()?;
        self.run_to_mark()?;
        let after = self.all_exits()?;
        Ok(Exits {
            all: after.all - before.all,
            for_interrupts: after.for_interrupts - before.for_interrupts,
        })
    }

    fn all_exits(&self) -> Result<Exits> {
        Ok(Exits {
            all: self.counter("exits")?,
            for_interrupts: self.counter("irq_exits")?,
        })
    }

    /// How many interrupts the handler has seen.
    pub(crate) fn seen(&self) -> Result<u64> {
        Ok(self.machine.ram().load(SEEN.into())?)
    }

    /// A counter of KVM's for the VM.
    pub(crate) fn counter(&self, name: &str) -> Result<u64> {
        let (process, vm) = (std::process::id(), self.machine.fd().as_raw_fd());
        let path = format!("/sys/kernel/debug/kvm/{process}-{vm}/{name}");
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        text.trim().parse().context(path)
    }
}

/// Whether the machine has one CPU.
pub(crate) fn is_alone() -> Result<bool> {
    let online = fs::read_to_string("/sys/devices/system/cpu/online")?;
    Ok(online.trim() == "0")
}

/// A thread, this one if none is named, runs on one CPU from now on.
pub(crate) fn pin(thread: Option<Pid>, cpu: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(thread, &cpus).context("sched_setaffinity")
}

/// A thread, this one if none is named, may run on all CPUs again.
pub(crate) fn unpin(thread: Option<Pid>) -> Result<()> {
    let mut cpus = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|cpu| cpus.set(cpu));
    sched_setaffinity(thread, &cpus).context("sched_setaffinity")
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A guest with the device, on one CPU.

use std::fs;
use std::os::fd::AsRawFd;
use std::sync::{Arc, OnceLock};

use anyhow::{ensure, Context, Result};
use exitless_vectors::uapi::EXITLESS_UNWATCHED;
use kvm_bindings::{
    kvm_irq_routing_entry, kvm_irq_routing_entry__bindgen_ty_1, kvm_irq_routing_msi, KvmIrqRouting,
    KVM_IRQ_ROUTING_MSI,
};
use module_tests::verdict::Skip;
use rawguest::{Access, Asm, Exit, Machine, Memory, Vcpu};
use rustix::thread::{sched_getaffinity, sched_setaffinity, CpuSet, Pid};
use vmm_sys_util::eventfd::EventFd;

use crate::edu::Edu;
use crate::exitless::{Exitless, Refused};
use crate::guest::{self, MARK, SEEN, SOFTWARE};
use crate::hpet::{self, Hpet};
use crate::vfio::Device;

/// The irqfd's number.
pub(crate) const GSI: u32 = 24;
/// Vectors that the guest has a handler for: two that can be direct, and one that cannot. The device
/// has the first one to begin with.
pub(crate) const VECTORS: [u8; 3] = [0x24, 0x29, 0x45];
/// The memory slot of the first device's registers.
const SLOT: u32 = 1;

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
    pub(crate) line: Line,
    /// There is one CPU for programs.
    pub(crate) is_alone: bool,
}

/// What raises interrupts.
enum Source {
    Edu(Edu),
    Hpet(Hpet),
}

impl Source {
    fn find(number: usize) -> Result<Self> {
        match (hpet::is_used(), number) {
            (false, _) => Ok(Self::Edu(Edu::find(number)?)),
            (true, 0) => Ok(Self::Hpet(Hpet::open()?)),
            (true, _) => Err(Skip("there is one device".to_owned()).into()),
        }
    }

    fn registers(&self) -> &Arc<Memory> {
        match self {
            Self::Edu(edu) => &edu.registers,
            Self::Hpet(hpet) => &hpet.registers,
        }
    }

    fn set_msi(&self, event: &EventFd) -> Result<()> {
        match self {
            Self::Edu(edu) => edu.device.set_msi(event),
            Self::Hpet(hpet) => hpet.set_msi(event),
        }
    }
}

/// A device that is assigned to a machine.
pub(crate) struct Line {
    source: Source,
    /// What its interrupt signals.
    pub(crate) event: EventFd,
}

impl Line {
    /// The device of this number, the machine's `place`th: that gives it the place of its registers
    /// ([`guest::registers`]) and, from [`GSI`] on, its GSI.
    pub(crate) fn new(machine: &Machine, number: usize, place: u32) -> Result<Self> {
        let source = Source::find(number)?;
        machine.show_memory(SLOT + place, guest::registers(place), source.registers())?;
        let event = EventFd::new(libc::EFD_CLOEXEC)?;
        let vm = machine.fd();
        vm.register_irqfd(&event, GSI + place).context("irqfd")?;
        source.set_msi(&event)?;
        Ok(Self { source, event })
    }

    /// The PCI device, if it is one: else there is nothing to test.
    pub(crate) fn pci(&self) -> Result<&Device> {
        match &self.source {
            Source::Edu(edu) => Ok(&edu.device),
            Source::Hpet(_) => Err(Skip("the device is no PCI device".to_owned()).into()),
        }
    }

    /// Arms its interrupt.
    pub(crate) fn arm(&self, exitless: &Exitless, flags: u32) -> Result<u32, Refused> {
        exitless.arm(self.event.as_raw_fd(), flags)
    }
}

impl Scene {
    /// A guest that runs `program`, with handlers for [`VECTORS`].
    pub(crate) fn new(program: &Asm) -> Result<Self> {
        Self::with_device(0, program)
    }

    /// The same with another one of the devices.
    pub(crate) fn with_device(number: usize, program: &Asm) -> Result<Self> {
        Self::on(cpus()[0], Machine::with_local_apics()?, number, program)
    }

    /// The same on this CPU, and in a VM of the caller's.
    pub(crate) fn on(cpu: usize, machine: Machine, number: usize, program: &Asm) -> Result<Self> {
        pin(None, cpu)?;
        for vector in VECTORS {
            machine.add_handler(vector, &guest::handler())?;
        }
        machine.add_handler(SOFTWARE, &guest::software_handler())?;
        let vcpu = machine.add_vcpu(program)?;
        route_all(&machine, &[(VECTORS[0], 0)])?;
        let line = Line::new(&machine, number, 0)?;
        let mut scene = Self {
            machine,
            vcpu,
            line,
            is_alone: cpus().len() == 1,
        };
        scene.run_to_mark()?;
        Ok(scene)
    }

    /// Has the GSI raise this vector.
    pub(crate) fn route(&self, vector: u8) -> Result<()> {
        route_all(&self.machine, &[(vector, 0)])
    }

    /// The VM's file of exitless.ko.
    pub(crate) fn attach(&self) -> Result<Exitless> {
        Exitless::attach(self.machine.fd().as_raw_fd())
    }

    /// Runs until the guest's next mark.
    pub(crate) fn run_to_mark(&mut self) -> Result<()> {
        run_to_mark(&mut self.vcpu)
    }

    /// Arms the interrupt, with a watchdog if there is a CPU for it.
    pub(crate) fn arm(&self, exitless: &Exitless, flags: u32) -> Result<u32, Refused> {
        self.line.arm(exitless, self.flags(flags))
    }

    /// These flags, and with one CPU that nobody watches.
    pub(crate) fn flags(&self, flags: u32) -> u32 {
        flags | if self.is_alone { EXITLESS_UNWATCHED } else { 0 }
    }

    /// Runs until the next mark; yields the vCPU's exits meanwhile.
    pub(crate) fn exits(&mut self) -> Result<Exits> {
        self.exits_while(|| Ok(()))
    }

    /// The same, of the whole VM, until `other` has returned, too.
    pub(crate) fn exits_while(&mut self, other: impl FnOnce() -> Result<()>) -> Result<Exits> {
        let before = self.all_exits()?;
        self.run_to_mark()?;
        other()?;
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

/// Runs a vCPU until its guest's next mark.
pub(crate) fn run_to_mark(vcpu: &mut Vcpu) -> Result<()> {
    let exit = vcpu.run_through_signals()?;
    let Exit::Access(Access::PortOut { port, .. }) = exit else {
        anyhow::bail!("unexpected exit {exit:x?}");
    };
    ensure!(port == MARK, "the guest wrote to port {port:#x}");
    Ok(())
}

/// Has the GSIs, from [`GSI`] on, raise these vectors of these vCPUs.
pub(crate) fn route_all(machine: &Machine, to: &[(u8, u32)]) -> Result<()> {
    let entry = |(gsi, &(vector, vcpu)): (u32, &(u8, u32))| kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_MSI,
        u: kvm_irq_routing_entry__bindgen_ty_1 {
            msi: kvm_irq_routing_msi {
                address_lo: 0xfee0_0000 | vcpu << 12,
                data: vector.into(),
                ..Default::default()
            },
        },
        ..Default::default()
    };
    let entries: Vec<_> = (GSI..).zip(to).map(entry).collect();
    let routing = KvmIrqRouting::from_entries(&entries)?;
    let vm = machine.fd();
    vm.set_gsi_routing(&routing).context("KVM_SET_GSI_ROUTING")
}

/// The CPUs for programs: those that this process was given.
pub(crate) fn cpus() -> &'static [usize] {
    static CPUS: OnceLock<Vec<usize>> = OnceLock::new();
    CPUS.get_or_init(|| {
        let set = sched_getaffinity(None).unwrap_or_default();
        (0..CpuSet::MAX_CPU)
            .filter(|&cpu| set.is_set(cpu))
            .collect()
    })
}

/// A thread, this one if none is named, runs on one CPU from now on.
pub(crate) fn pin(thread: Option<Pid>, cpu: usize) -> Result<()> {
    let mut one = CpuSet::new();
    one.set(cpu);
    sched_setaffinity(thread, &one).context("sched_setaffinity")
}

/// A thread, this one if none is named, may run on all CPUs for programs again.
pub(crate) fn unpin(thread: Option<Pid>) -> Result<()> {
    let mut all = CpuSet::new();
    cpus().iter().for_each(|&cpu| all.set(cpu));
    sched_setaffinity(thread, &all).context("sched_setaffinity")
}

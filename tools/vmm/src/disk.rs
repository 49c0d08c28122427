// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Disks, and other devices behind virtio-mmio registers, with the registers dispatched in one of
//! three ways.
//!
//! | dispatch | a register access goes | module |
//! |---|---|---|
//! | `exit` | KVM → VMM, which has the device in its own process | [`hosted`] |
//! | `exit-ipc` | KVM → VMM → device process | [`served`] |
//! | `ioregion` | KVM → device process; to the VMM only when that fails | [`served`], [`regions`] |
//!
//! With `pci=MODEL`, the same device is a PCI function, with MSI-X and the registers of virtio-pci.
//!
//! With `reads=shadow`, in any of them, the guest reads registers in a page that the device
//! publishes, without an exit; with `rules=on`, KVM completes the writes that every request needs.
//!
//! [`spec`] is the option that chooses. [`registers`] makes commands of bus accesses.
//! [`attachment`] and [`supervisor`] keep a device process attached to a disk that has one.
//!
//! # When the device process dies
//!
//! The guest must not see it: no access lost, none applied twice. Four parts work together.
//!
//! 1. A register access that got no answer is repeated with the next process. The dead process
//!    may have carried it out, so each access of virtio-mmio must bear that. Reads have no
//!    effect. Writes to selectors, addresses, sizes, `QueueReady`, `Status` and features store a
//!    value; storing it again changes nothing, because the vCPU that repeats has not gone on,
//!    and the driver lets no other vCPU configure the device at the same time. `QueueNotify`
//!    makes the device look at a ring once more. `InterruptACK` clears bits, perhaps of a newer
//!    interrupt; but the driver looks at the rings only after its acknowledgement has returned,
//!    so it finds what that interrupt announced.
//! 2. Registers live in the state page, requests in guest memory; the fresh process continues
//!    from both. Why no request is lost or visible twice: [`shunt::state`].
//! 3. A vCPU whose access failed blocks in its disk's [`attachment`] until there is a fresh
//!    process; the guest's other vCPUs run on. A process that is gone is recognised by its own
//!    end of the channel, so the vCPU that notices first need not wait for the supervisor.
//! 4. KVM's region is removed before the next process gets one, with a fresh channel: nothing
//!    that the dead one left in the old channel reaches its successor.
//!
//! The page that the guest reads outlives the process, and so does its slot. Reads go on while
//! there is none, and find what was published last; [`shunt::state`] says why that is right. Rules go
//! with the region: an acknowledgement that comes between two processes waits for the next one,
//! which does to the same word what KVM would have done. The slot is made when the first process
//! has published: before, the guest would read zeroes.
//!
//! A posted write is not repeated when it is lost with a process. The VMM therefore posts
//! `QueueNotify` alone: the fresh process looks at all rings anyway. `InterruptACK` must not be
//! posted even with an immortal process: the device may raise an interrupt between the moment
//! the driver has looked at the rings and the moment the acknowledgement arrives, which would
//! then clear that interrupt's bit, and its handler would find nothing to do.

pub(crate) mod attachment;
mod hosted;
mod regions;
mod registers;
mod served;
pub(crate) mod spec;
mod supervisor;

use std::sync::Arc;

use anyhow::{Context, Result};
use kvm_ioctls::VmFd;
use shunt::{state::StatePage, virtio_bus};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

use crate::{
    bus::BusDevice,
    layout::{REGISTER_SLOT, VIRTIO_MMIO, VIRTIO_MMIO_IRQS, VIRTIO_MMIO_SIZE},
    memory,
    pci::model::Model,
    report::DiskReport,
    stop::Stop,
};
use hosted::Hosted;
use regions::Registers;
use served::Served;
use spec::{DiskSpec, Reads};

/// Where a disk is in the machine.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// Its registers.
    pub(crate) registers: Registers,
    /// Its interrupt line; 0 if it has none.
    pub(crate) irq: u32,
    /// KVM's memory slot for its registers.
    memory_slot: u32,
}

/// How a disk interrupts the guest.
#[derive(Debug)]
pub(crate) struct Interrupts {
    /// Its line, which nobody hears when it has vectors.
    pub(crate) line: EventFd,
    /// Its MSI-X vectors.
    pub(crate) vectors: Vec<EventFd>,
    /// What tells the device that its line, a PCI pin, is low again.
    pub(crate) resample: Option<EventFd>,
}

impl Interrupts {
    /// By a line alone.
    pub(crate) fn of_line(line: EventFd) -> Self {
        Self {
            line,
            vectors: Vec::new(),
            resample: None,
        }
    }

    /// What the device has to be told of its interrupts, if anything.
    fn resample_event(&self) -> Result<Vec<EventFd>> {
        let events = self.resample.iter().map(EventFd::try_clone);
        Ok(events.collect::<Result<_, _>>()?)
    }

    /// By MSI-X alone.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub(crate) fn of_vectors(vectors: Vec<EventFd>) -> Result<Self> {
        let line = event()?;
        Ok(Self {
            line,
            vectors,
            resample: None,
        })
    }

    /// By a PCI pin, which is this line of the irqchip's.
    ///
    /// # Errors
    ///
    /// No descriptor is left, or KVM refuses it.
    pub(crate) fn of_pin(vm: &VmFd, line: u32) -> Result<Self> {
        let (event, resample) = (event()?, event()?);
        vm.register_irqfd_with_resample(&event, &resample, line)
            .with_context(|| format!("KVM refuses an irqfd for pin {line}"))?;
        Ok(Self {
            line: event,
            vectors: Vec::new(),
            resample: Some(resample),
        })
    }
}

fn event() -> Result<EventFd> {
    EventFd::new(EFD_NONBLOCK).context("cannot create an interrupt eventfd")
}

impl Slot {
    /// The place of disk number `index` of those behind virtio-mmio.
    ///
    /// # Errors
    ///
    /// When there are no more interrupt lines.
    pub(crate) fn new(index: usize) -> Result<Self> {
        let lines = VIRTIO_MMIO_IRQS.len();
        let irq = VIRTIO_MMIO_IRQS.get(index);
        Ok(Self {
            registers: Registers::mmio(VIRTIO_MMIO + VIRTIO_MMIO_SIZE * index as u64),
            irq: *irq.with_context(|| format!("there can be at most {lines} disks"))?,
            memory_slot: REGISTER_SLOT + index as u32,
        })
    }

    /// The place of a PCI device whose BAR is there.
    pub(crate) fn pci(address: u64, model: Model, irq: u32) -> Self {
        Self {
            registers: Registers::pci(address, model),
            irq,
            memory_slot: 0,
        }
    }
}

impl Slot {
    /// Lets the guest read what the disk's device has published.
    ///
    /// # Errors
    ///
    /// When KVM refuses it.
    fn show(&self, vm: &VmFd, state: &StatePage) -> Result<()> {
        memory::show_registers(vm, self.memory_slot, self.registers.address, state.shadow())
    }
}

/// What a disk needs of the machine.
pub(crate) struct Machine<'a> {
    /// The VM.
    pub(crate) vm: &'a Arc<VmFd>,
    /// Its memory.
    pub(crate) memory: &'a GuestMemoryMmap,
    /// How many vCPUs it has.
    pub(crate) vcpus: u32,
    /// The switch that ends the machine.
    pub(crate) stop: &'a Arc<Stop>,
}

/// A disk of the machine.
pub(crate) struct Disk {
    dispatch_name: &'static str,
    slot: Slot,
    state: StatePage,
    dispatch: Dispatch,
}

enum Dispatch {
    Hosted(Arc<Hosted>),
    Served(Box<Served>),
}

impl Disk {
    /// Makes the disk that `spec` describes; `interrupts` are what it raises. A served disk has its
    /// socket from now on.
    ///
    /// # Errors
    ///
    /// When the image or the socket cannot be had, or KVM lacks what the dispatch needs.
    pub(crate) fn new(
        spec: &DiskSpec,
        slot: Slot,
        interrupts: Interrupts,
        machine: &Machine<'_>,
    ) -> Result<Self> {
        let state = StatePage::create()?;
        let dispatch = match spec {
            DiskSpec::Hosted(spec) => {
                let place = virtio_bus::Slot {
                    memory: machine.memory.clone(),
                    state: state.clone(),
                    interrupt: interrupts.line,
                    vectors: interrupts.vectors,
                };
                let events = interrupts.resample.into_iter().collect();
                let hosted = Hosted::new(spec, place, events, machine.stop)?;
                if spec.reads == Reads::Shadow {
                    slot.show(machine.vm, &state)?;
                }
                Dispatch::Hosted(Arc::new(hosted))
            }
            DiskSpec::Served(spec) => {
                let served = Served::new(spec, &slot, state.clone(), interrupts, machine)?;
                Dispatch::Served(Box::new(served))
            }
        };
        Ok(Self {
            dispatch_name: spec.dispatch(),
            slot,
            state,
            dispatch,
        })
    }

    /// Guest physical address of its registers.
    pub(crate) fn address(&self) -> u64 {
        self.slot.registers.address
    }

    /// Whether it is a PCI function.
    pub(crate) fn is_on_pci(&self) -> bool {
        self.slot.registers.model.is_some()
    }

    /// What answers the accesses that leave KVM for the VMM.
    pub(crate) fn bus_device(&self) -> Arc<dyn BusDevice> {
        match &self.dispatch {
            Dispatch::Hosted(hosted) => hosted.clone(),
            Dispatch::Served(served) => served.attachment().clone(),
        }
    }

    /// Where its device counts.
    pub(crate) fn state(&self) -> &StatePage {
        &self.state
    }

    /// Keeps a device process attached until the machine stops, or tells a device without one of
    /// its input.
    pub(crate) fn supervise(&self) {
        match &self.dispatch {
            Dispatch::Hosted(hosted) => hosted.serve_input(),
            Dispatch::Served(served) => served.supervise(),
        }
    }

    /// Gets every vCPU out that waits for a device process, for good, and ends the session.
    ///
    /// # Errors
    ///
    /// When the session does not end.
    pub(crate) fn close(&self) -> Result<()> {
        if let Dispatch::Served(served) = &self.dispatch {
            served.attachment().close()?;
        }
        Ok(())
    }

    /// What was counted.
    pub(crate) fn report(&self) -> DiskReport {
        DiskReport {
            address: format!("{:#x}", self.slot.registers.address),
            irq: self.slot.irq,
            dispatch: self.dispatch_name,
            processes: match &self.dispatch {
                Dispatch::Hosted(_) => 0,
                Dispatch::Served(served) => served.processes(),
            },
            counters: self.state.counters().values(),
        }
    }
}

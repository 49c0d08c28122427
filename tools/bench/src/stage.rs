// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A guest, whoever handles its accesses, and the loop around `KVM_RUN`.

use std::os::fd::AsFd;

use anyhow::{ensure, Context, Result};
use kvm_ioctls::{IoEventAddress, NoDatamatch, VcpuExit};
use rawguest::{Machine, Reg, Vcpu};
use shunt::channel::{self, Endpoint, Transport};
use shunt::ioregion::{create_channel, set_region, Bus, KvmEnd, Region};
use vmm_sys_util::eventfd::EventFd;

use crate::companion::Companion;
use crate::dispatch::{Dispatch, Neighbour, RingDevice, Target};
use crate::guest::{self, Body, Operation, MARKER, PAUSE};
use crate::polled::Polled;
use crate::ruled::Ruled;
use crate::sample::{Sample, ALL, BATCHES};
use crate::vmm::Vmm;
use crate::{clock, switches};

/// Guest physical address of the measured access, unless KVM's own device has another.
const MMIO: u32 = 0xd000_0000;
/// Port of the measured access, likewise.
const PORT: u32 = 0x600;
/// Register select of the I/O APIC.
const IO_APIC: u32 = 0xfec0_0000;
/// Interrupt mask of the first PIC.
const PIC_MASK: u32 = 0x21;
/// Where a neighbour's region is.
const ELSEWHERE: u64 = 0xe000_0000;
const REGION_SIZE: u64 = 0x100;
/// Slots of a channel in shared memory: more than a burst has accesses.
pub(crate) const SLOTS: u32 = 64;

/// Everything that a measurement needs, ready to run.
pub(crate) struct Stage {
    vcpu: Vcpu,
    vmm: Vmm,
    companion: Option<Companion>,
    eventfd: Option<EventFd>,
    polled: Option<Polled>,
    ruled: Option<Ruled>,
    operation: Operation,
    /// Accesses that the program makes, without those that end batches.
    accesses: u32,
    _neighbour: Option<(Option<Machine>, Endpoint)>,
    _machine: Machine,
}

impl Stage {
    /// Makes the VM and its surroundings for `dispatch`, and the program for `body`.
    pub(crate) fn build(dispatch: &Dispatch, body: Body) -> Result<Self> {
        let Dispatch {
            operation,
            target,
            pace,
            ..
        } = *dispatch;
        let place = place(operation, target);
        let machine = match target {
            Target::InterruptController => Machine::with_irqchip()?,
            _ => Machine::new()?,
        };
        let neighbour = neighbour(dispatch.neighbour, &machine)?;
        let (vmm, companion) = connect(operation, target, &machine)?;
        let eventfd = match target {
            Target::Eventfd => Some(eventfd(&machine, place)?),
            _ => None,
        };
        let polled = match target {
            Target::Ring {
                device: RingDevice::Guest,
                posted,
            } => Some(Polled::new(&machine, &region(operation, posted))?),
            _ => None,
        };
        let ruled = match target {
            Target::Rule { rule, shadowed } => {
                let region = region(operation, false);
                Some(Ruled::new(&machine, region, rule, operation, shadowed)?)
            }
            _ => None,
        };
        let program = guest::program(operation, place, pace, body, companion.is_some());
        let mut vcpu = machine.add_vcpu(&program)?;
        if let Some(ruled) = &ruled {
            ruled.prepare(&mut vcpu)?;
        }
        Ok(Self {
            vcpu,
            vmm,
            companion,
            eventfd,
            polled,
            ruled,
            operation,
            accesses: if body == Body::Access { ALL } else { 0 },
            _neighbour: neighbour,
            _machine: machine,
        })
    }

    /// Runs the program and checks that every access was handled where it should be.
    pub(crate) fn run(&mut self) -> Result<Sample> {
        let companion = self.companion.as_ref().map(Companion::pid);
        let before = switches::total(companion)?;
        let mut sample = self.run_to_the_end()?;
        sample.switches = switches::total(companion)? - before;
        self.verify()?;
        Ok(sample)
    }

    fn run_to_the_end(&mut self) -> Result<Sample> {
        let stamps = BATCHES as usize + 2;
        let mut sample = Sample {
            stamps: Vec::with_capacity(stamps),
            ..Default::default()
        };
        while sample.stamps.len() < stamps {
            sample.exits += 1;
            match self.vcpu.fd_mut().run().context("KVM_RUN")? {
                VcpuExit::IoOut(MARKER, _) => sample.stamps.push(clock::now()),
                VcpuExit::IoOut(PAUSE, _) => rustix::thread::sched_yield(),
                exit => self.vmm.complete(exit)?,
            }
        }
        Ok(sample)
    }

    fn verify(&self) -> Result<()> {
        if let Some(polled) = &self.polled {
            return polled.verify(self.accesses.into());
        }
        if let Some(ruled) = &self.ruled {
            return ruled.verify(&self.vcpu, self.accesses.into());
        }
        let (handled, wanted) = match (&self.companion, &self.eventfd) {
            (Some(_), _) => (self.answer()?, self.wanted_answer()),
            (None, Some(_)) if self.accesses == 0 => return Ok(()),
            (None, Some(eventfd)) => (eventfd.read().context("eventfd")?, self.accesses.into()),
            (None, None) => match self.vmm {
                Vmm::Alone { handled } => (handled.into(), self.accesses.into()),
                _ => return Ok(()),
            },
        };
        ensure!(
            handled == wanted,
            "counted {handled} accesses handled, want {wanted}"
        );
        Ok(())
    }

    /// What the device answered to the last read: how many commands came before that.
    fn answer(&self) -> Result<u64> {
        Ok(self.vcpu.reg(Reg::Ax)? & self.answer_mask())
    }

    fn wanted_answer(&self) -> u64 {
        u64::from(self.accesses + BATCHES) & self.answer_mask()
    }

    fn answer_mask(&self) -> u64 {
        match self.operation {
            Operation::PortRead => 0xff,
            Operation::Read | Operation::Write => u64::MAX,
        }
    }
}

fn place(operation: Operation, target: Target) -> u32 {
    match (operation, target) {
        (Operation::PortRead, Target::InterruptController) => PIC_MASK,
        (Operation::PortRead, _) => PORT,
        (_, Target::InterruptController) => IO_APIC,
        _ => MMIO,
    }
}

/// Starts the device process, if there is one, and gives the other end of its channel to
/// whoever handles the exits.
fn connect(
    operation: Operation,
    target: Target,
    machine: &Machine,
) -> Result<(Vmm, Option<Companion>)> {
    let channel = |transport| -> Result<(Endpoint, Companion)> {
        let (kvm_end, device_end) = channel::pair(transport).context("channel")?;
        Ok((kvm_end, Companion::device(&device_end)?))
    };
    Ok(match target {
        Target::InterruptController
        | Target::Eventfd
        | Target::Rule { .. }
        | Target::Ring {
            device: RingDevice::Guest,
            ..
        } => (Vmm::Nobody, None),
        Target::Vmm => (Vmm::Alone { handled: 0 }, None),
        Target::Forwarded { posted } => {
            let (channel, device) = channel(Transport::Seqpacket)?;
            (Vmm::Forwarding { channel, posted }, Some(device))
        }
        Target::Region { transport, posted } => {
            let (kvm_end, device) = channel(transport)?;
            let region = region(operation, posted);
            set_region(machine.fd(), &region, &kvm_end).context("KVM_SET_IOREGION")?;
            (Vmm::Nobody, Some(device))
        }
        Target::Ring {
            device: RingDevice::Process,
            posted,
        } => {
            let channel = create_channel(machine.fd(), SLOTS, 1).context("channel")?;
            let region = region(operation, posted);
            set_region(machine.fd(), &region, KvmEnd::Ring(channel.as_fd()))
                .context("KVM_SET_IOREGION")?;
            (Vmm::Nobody, Some(Companion::ring_device(channel)?))
        }
    })
}

fn region(operation: Operation, posted_writes: bool) -> Region {
    let (bus, address) = match operation {
        Operation::PortRead => (Bus::Pio, PORT),
        Operation::Read | Operation::Write => (Bus::Mmio, MMIO),
    };
    Region {
        bus,
        address: address.into(),
        size: REGION_SIZE,
        user_data: 0,
        posted_writes,
        timeout: None,
    }
}

fn eventfd(machine: &Machine, place: u32) -> Result<EventFd> {
    let eventfd = EventFd::new(0).context("eventfd")?;
    machine
        .fd()
        .register_ioevent(&eventfd, &IoEventAddress::Mmio(place.into()), NoDatamatch)
        .context("KVM_IOEVENTFD")?;
    Ok(eventfd)
}

/// A region that is never accessed. The VM and the end of the channel that it needs live as
/// long as what is returned.
fn neighbour(neighbour: Neighbour, own: &Machine) -> Result<Option<(Option<Machine>, Endpoint)>> {
    let other = match neighbour {
        Neighbour::None => return Ok(None),
        Neighbour::OtherVm => Some(Machine::new()?),
        Neighbour::SameVm => None,
    };
    let (kvm_end, device_end) = channel::pair(Transport::Seqpacket).context("channel")?;
    let region = Region {
        address: ELSEWHERE,
        ..region(Operation::Read, false)
    };
    let machine = other.as_ref().unwrap_or(own);
    set_region(machine.fd(), &region, &kvm_end).context("the neighbour's KVM_SET_IOREGION")?;
    Ok(Some((other, device_end)))
}

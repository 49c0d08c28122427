// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What a guest access costs, by who handles it.

use anyhow::{Context, Result};
use shunt::channel::Transport;

use crate::guest::{Body, Operation, Pace};
use crate::ruled::Rule;
use crate::sample::Figures;
use crate::stage::Stage;

/// An access, and where it goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dispatch {
    /// What the guest does.
    pub(crate) operation: Operation,
    /// Who handles it.
    pub(crate) target: Target,
    /// How often.
    pub(crate) pace: Pace,
    /// Who else uses the module.
    pub(crate) neighbour: Neighbour,
}

/// Who handles the access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// An interrupt controller that KVM emulates: the I/O APIC's register select for MMIO, the
    /// first PIC's mask for ports.
    InterruptController,
    /// An ioeventfd that nobody waits on.
    Eventfd,
    /// The VMM, in the thread that runs the vCPU.
    Vmm,
    /// A device process, through the VMM and a `SOCK_SEQPACKET` socket.
    Forwarded {
        /// The VMM does not wait for writes to complete.
        posted: bool,
    },
    /// A device process, through an ioregion.
    Region {
        /// Over what.
        transport: Transport,
        /// The guest does not wait for writes to complete.
        posted: bool,
    },
    /// A device behind a channel in shared memory.
    Ring {
        /// Which.
        device: RingDevice,
        /// The guest does not wait for writes to complete.
        posted: bool,
    },
    /// A rule of a region.
    Rule {
        /// Which.
        rule: Rule,
        /// A read-only memory slot serves the reads.
        shadowed: bool,
    },
}

/// The device behind a channel in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RingDevice {
    /// A process that sleeps when there is nothing to do.
    Process,
    /// The guest itself, see [`Pace::Answered`].
    Guest,
}

/// Who else uses the module meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Neighbour {
    /// Nobody.
    None,
    /// Another VM, which has a region and does not run.
    OtherVm,
    /// The VM itself has a region, at another address.
    SameVm,
}

impl Dispatch {
    /// One after the other, with nobody else around.
    pub(crate) const fn new(operation: Operation, target: Target) -> Self {
        Self {
            operation,
            target,
            pace: Pace::Steady,
            neighbour: Neighbour::None,
        }
    }

    /// With pauses, so that the device sleeps again after so many accesses.
    pub(crate) const fn in_bursts(self, length: u32) -> Self {
        let pace = Pace::Bursts(length);
        Self { pace, ..self }
    }

    /// With answers that are there before the access.
    pub(crate) const fn answered(self) -> Self {
        let pace = Pace::Answered;
        Self { pace, ..self }
    }

    /// With a neighbour.
    pub(crate) const fn beside(self, neighbour: Neighbour) -> Self {
        Self { neighbour, ..self }
    }

    /// The cost of one access: the guest's loop and the measurement itself are taken off, by
    /// running the same without the access.
    pub(crate) fn measure(&self) -> Result<Figures> {
        let full = Stage::build(self, Body::Access)?.run()?;
        let empty = Stage::build(self, Body::EmptyLoop)
            .and_then(|mut stage| stage.run())
            .context("without the access")?;
        Ok(full.beyond(&empty))
    }
}

/// The cost of one turn of the guest's loop, which is what [`Dispatch::measure`] takes off.
pub(crate) fn measure_loop() -> Result<Figures> {
    let dispatch = Dispatch::new(Operation::Read, Target::Vmm);
    let turns = Stage::build(&dispatch, Body::EmptyLoop)?.run()?;
    let nothing = Stage::build(&dispatch, Body::Nothing)?.run()?;
    Ok(turns.beyond(&nothing))
}

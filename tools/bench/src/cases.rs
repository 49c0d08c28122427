// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The table of everything that is measured.

use anyhow::Result;
use shunt::channel::Transport::{self, Pipe, Seqpacket, Stream};

use crate::calibration::{getppid, round_trip, yield_pair};
use crate::dispatch::{measure_loop, Dispatch, Neighbour, Target};
use crate::guest::Operation::{self, PortRead, Read, Write};
use crate::module::{Module, Need};
use crate::sample::Figures;

/// One measurement.
pub(crate) struct Case {
    /// Which results it belongs to.
    pub(crate) suite: Suite,
    /// Unique name.
    pub(crate) name: &'static str,
    /// What the figures are for one of.
    pub(crate) per: &'static str,
    /// The case to compare it with.
    pub(crate) control: Option<&'static str>,
    /// What is measured, in a sentence.
    pub(crate) description: &'static str,
    module: Need,
    how: How,
}

/// A set of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    /// Guest accesses.
    Dispatch,
    /// Their parts, without KVM.
    Calibration,
}

enum How {
    Access(Dispatch),
    GuestLoop,
    Call(fn() -> Result<Figures>),
    RoundTrip(Transport),
}

impl Suite {
    /// Its name in the results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dispatch => "dispatch",
            Self::Calibration => "calibration",
        }
    }
}

impl Case {
    /// Measures it, with the module loaded or not as it needs.
    pub(crate) fn measure(&self, module: &Module) -> Result<Figures> {
        module.provide(self.module)?;
        match &self.how {
            How::Access(dispatch) => dispatch.measure(),
            How::GuestLoop => measure_loop(),
            How::Call(measure) => measure(),
            How::RoundTrip(transport) => round_trip(*transport),
        }
    }

    const fn access(
        name: &'static str,
        control: Option<&'static str>,
        dispatch: Dispatch,
        description: &'static str,
    ) -> Self {
        let (suite, per) = (Suite::Dispatch, "access");
        let (module, how) = (Need::Loaded, How::Access(dispatch));
        Self {
            suite,
            name,
            per,
            control,
            description,
            module,
            how,
        }
    }

    const fn part(
        name: &'static str,
        per: &'static str,
        how: How,
        description: &'static str,
    ) -> Self {
        let (suite, module, control) = (Suite::Calibration, Need::Any, None);
        Self {
            suite,
            name,
            per,
            control,
            description,
            module,
            how,
        }
    }

    const fn without_module(self) -> Self {
        Self {
            module: Need::Absent,
            ..self
        }
    }
}

const fn kvm(operation: Operation) -> Dispatch {
    Dispatch::new(operation, Target::InterruptController)
}

const fn vmm(operation: Operation) -> Dispatch {
    Dispatch::new(operation, Target::Vmm)
}

const fn forwarded(operation: Operation, posted: bool) -> Dispatch {
    Dispatch::new(operation, Target::Forwarded { posted })
}

const fn region(operation: Operation, transport: Transport) -> Dispatch {
    let posted = false;
    Dispatch::new(operation, Target::Region { transport, posted })
}

const fn posted(transport: Transport) -> Dispatch {
    let posted = true;
    Dispatch::new(Write, Target::Region { transport, posted })
}

/// Every case, in the order of the results. The case without the module comes first, so that
/// the module is loaded once only.
pub(crate) const CASES: &[Case] = &[
    Case::access(
        "unrelated-exit-nomodule",
        None,
        vmm(Write),
        "write that the VMM handles, ioregion.ko not loaded",
    )
    .without_module(),
    Case::access(
        "unrelated-exit-module",
        Some("unrelated-exit-nomodule"),
        vmm(Write),
        "the same with ioregion.ko loaded and no region anywhere",
    ),
    Case::access(
        "unrelated-exit-module-in-use",
        Some("unrelated-exit-nomodule"),
        vmm(Write).beside(Neighbour::OtherVm),
        "the same while another VM has a region",
    ),
    Case::access(
        "unrelated-exit-attached",
        Some("unrelated-exit-nomodule"),
        vmm(Write).beside(Neighbour::SameVm),
        "the same in a VM that has a region at another address",
    ),
    Case::access(
        "floor-read",
        None,
        kvm(Read),
        "read that KVM's I/O APIC answers (register select): no dispatch can be cheaper",
    ),
    Case::access(
        "floor-write",
        None,
        kvm(Write),
        "write that KVM's I/O APIC takes (register select)",
    ),
    Case::access(
        "floor-pio-read",
        None,
        kvm(PortRead),
        "port read that KVM's PIC answers (interrupt mask)",
    ),
    Case::access(
        "ioeventfd-write",
        Some("floor-write"),
        Dispatch::new(Write, Target::Eventfd),
        "write to an ioeventfd that nobody waits on",
    ),
    Case::access(
        "exit-read",
        Some("floor-read"),
        vmm(Read),
        "read that the VMM handles in the vCPU's thread",
    ),
    Case::access(
        "exit-write",
        Some("floor-write"),
        vmm(Write),
        "write that the VMM handles in the vCPU's thread",
    ),
    Case::access(
        "exit-pio-read",
        Some("floor-pio-read"),
        vmm(PortRead),
        "port read that the VMM handles in the vCPU's thread",
    ),
    Case::access(
        "exit-ipc-read",
        Some("exit-read"),
        forwarded(Read, false),
        "read that the VMM forwards to a device process over SEQPACKET",
    ),
    Case::access(
        "exit-ipc-posted",
        Some("exit-write"),
        forwarded(Write, true),
        "write that the VMM forwards without waiting",
    ),
    Case::access(
        "ioregion-seqpacket-read",
        Some("exit-ipc-read"),
        region(Read, Seqpacket),
        "read through an ioregion over SEQPACKET",
    ),
    Case::access(
        "ioregion-stream-read",
        Some("exit-ipc-read"),
        region(Read, Stream),
        "read through an ioregion over STREAM",
    ),
    Case::access(
        "ioregion-pipe-read",
        Some("exit-ipc-read"),
        region(Read, Pipe),
        "read through an ioregion over two pipes",
    ),
    Case::access(
        "ioregion-seqpacket-write",
        Some("ioregion-seqpacket-read"),
        region(Write, Seqpacket),
        "write through an ioregion over SEQPACKET, with reply",
    ),
    Case::access(
        "ioregion-stream-write",
        Some("ioregion-stream-read"),
        region(Write, Stream),
        "write through an ioregion over STREAM, with reply",
    ),
    Case::access(
        "ioregion-pipe-write",
        Some("ioregion-pipe-read"),
        region(Write, Pipe),
        "write through an ioregion over two pipes, with reply",
    ),
    Case::access(
        "ioregion-seqpacket-posted",
        Some("exit-ipc-posted"),
        posted(Seqpacket),
        "posted write through an ioregion over SEQPACKET, with the device's reading it",
    ),
    Case::access(
        "ioregion-stream-posted",
        Some("exit-ipc-posted"),
        posted(Stream),
        "posted write through an ioregion over STREAM",
    ),
    Case::access(
        "ioregion-pipe-posted",
        Some("exit-ipc-posted"),
        posted(Pipe),
        "posted write through an ioregion over a pipe",
    ),
    Case::access(
        "ioregion-pio-read",
        Some("ioregion-seqpacket-read"),
        region(PortRead, Seqpacket),
        "port read through an ioregion over SEQPACKET",
    ),
    Case::part(
        "guest-loop",
        "turn",
        How::GuestLoop,
        "the guest's loop around each access, which the cases of dispatch do not contain",
    ),
    Case::part(
        "getppid",
        "call",
        How::Call(getppid),
        "the shortest system call",
    ),
    Case::part(
        "yield-pair",
        "call",
        How::Call(yield_pair),
        "sched_yield to another process and back",
    ),
    Case::part(
        "seqpacket-round-trip",
        "call",
        How::RoundTrip(Seqpacket),
        "command and reply between two processes over SEQPACKET",
    ),
    Case::part(
        "stream-round-trip",
        "call",
        How::RoundTrip(Stream),
        "command and reply between two processes over STREAM",
    ),
    Case::part(
        "pipe-round-trip",
        "call",
        How::RoundTrip(Pipe),
        "command and reply between two processes over two pipes",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_controls_exist() {
        for (index, case) in CASES.iter().enumerate() {
            let earlier = &CASES[..index];
            assert!(earlier.iter().all(|c| c.name != case.name), "{}", case.name);
            if let Some(control) = case.control {
                assert!(CASES.iter().any(|c| c.name == control), "{control}");
            }
        }
    }
}

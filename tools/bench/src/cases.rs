// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The table of everything that is measured.

use shunt::channel::Transport::{self, Pipe, Seqpacket, Stream};

use crate::calibration::{getppid, yield_pair};
use crate::case::{Case, How};
use crate::dispatch::{Dispatch, Neighbour, RingDevice, Target};
use crate::guest::Operation::{self, PortRead, Read, Write};
use crate::ruled::Rule;

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

const fn posted(transport: Transport, burst: u32) -> Dispatch {
    let posted = true;
    Dispatch::new(Write, Target::Region { transport, posted }).in_bursts(burst)
}

const fn ring(operation: Operation, device: RingDevice, posted: bool) -> Dispatch {
    Dispatch::new(operation, Target::Ring { device, posted })
}

const fn rule(operation: Operation, rule: Rule) -> Dispatch {
    let shadowed = false;
    Dispatch::new(operation, Target::Rule { rule, shadowed })
}

const fn shadow(operation: Operation, rule: Rule) -> Dispatch {
    let shadowed = true;
    Dispatch::new(operation, Target::Rule { rule, shadowed })
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
        forwarded(Write, true).in_bursts(1),
        "write that the VMM forwards without waiting, to a device that sleeps",
    ),
    Case::access(
        "exit-ipc-posted-burst16",
        Some("exit-ipc-posted"),
        forwarded(Write, true).in_bursts(16),
        "the same, one of 16 after which the device sleeps again",
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
        posted(Seqpacket, 1),
        "posted write through an ioregion over SEQPACKET, to a device that sleeps",
    ),
    Case::access(
        "ioregion-stream-posted",
        Some("exit-ipc-posted"),
        posted(Stream, 1),
        "posted write through an ioregion over STREAM, to a device that sleeps",
    ),
    Case::access(
        "ioregion-pipe-posted",
        Some("exit-ipc-posted"),
        posted(Pipe, 1),
        "posted write through an ioregion over a pipe, to a device that sleeps",
    ),
    Case::access(
        "ioregion-seqpacket-posted-burst16",
        Some("ioregion-seqpacket-posted"),
        posted(Seqpacket, 16),
        "the same, one of 16 after which the device sleeps again",
    ),
    Case::access(
        "ioregion-stream-posted-burst16",
        Some("ioregion-stream-posted"),
        posted(Stream, 16),
        "the same over STREAM",
    ),
    Case::access(
        "ioregion-pipe-posted-burst16",
        Some("ioregion-pipe-posted"),
        posted(Pipe, 16),
        "the same over a pipe",
    ),
    Case::access(
        "ioregion-pio-read",
        Some("ioregion-seqpacket-read"),
        region(PortRead, Seqpacket),
        "port read through an ioregion over SEQPACKET",
    ),
    Case::access(
        "channel-read-sleep",
        Some("ioregion-seqpacket-read"),
        ring(Read, RingDevice::Process, false),
        "read through a channel in shared memory, device and vCPU asleep in turn",
    ),
    Case::access(
        "channel-write-sleep",
        Some("ioregion-seqpacket-write"),
        ring(Write, RingDevice::Process, false),
        "write through a channel, with answer, device and vCPU asleep in turn",
    ),
    Case::access(
        "channel-read-polled",
        Some("floor-read"),
        ring(Read, RingDevice::Guest, false).answered(),
        "the vCPU's side of a read through a channel that is answered at once",
    ),
    Case::access(
        "channel-posted-polled",
        Some("floor-write"),
        ring(Write, RingDevice::Guest, true).answered(),
        "the vCPU's side of a posted write through a channel whose device polls",
    ),
    Case::access(
        "channel-posted",
        Some("ioregion-seqpacket-posted"),
        ring(Write, RingDevice::Process, true).in_bursts(1),
        "posted write through a channel, to a device that sleeps",
    ),
    Case::access(
        "channel-posted-burst16",
        Some("channel-posted"),
        ring(Write, RingDevice::Process, true).in_bursts(16),
        "the same, one of 16 after which the device sleeps again",
    ),
    Case::access(
        "rule-plain-read",
        Some("floor-read"),
        rule(Read, Rule::Plain),
        "read of a register that a rule makes memory",
    ),
    Case::access(
        "rule-plain-write",
        Some("floor-write"),
        rule(Write, Rule::Plain),
        "write to a register that a rule makes memory",
    ),
    Case::access(
        "rule-w1c-write",
        Some("floor-write"),
        rule(Write, Rule::W1c),
        "write by which a rule clears bits of a register",
    ),
    Case::access(
        "rule-doorbell-write",
        Some("floor-write"),
        rule(Write, Rule::Doorbell),
        "write for which a rule signals an eventfd that nobody waits on",
    ),
    Case::access(
        "shadow-read",
        Some("floor-read"),
        shadow(Read, Rule::None),
        "read that a read-only memory slot over a region serves, without an exit",
    ),
    Case::access(
        "shadow-write",
        Some("floor-write"),
        shadow(Write, Rule::Plain),
        "write to a register that a rule makes memory, under a read-only memory slot",
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

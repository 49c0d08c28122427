// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Writes that ring: an eventfd, or the device without waiting for it.

use std::os::fd::AsRawFd;
use std::thread;

use anyhow::{Context as _, Result};
use ioregion_wire::uapi::KvmIoregionChannel;
use rawguest::{Access, Asm, Exit, Machine, Mem, Reg, Width};
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

use super::{fixture, Fixture, CARRIERS, SIZE};
use crate::cases::access::VALUE;
use crate::channel::{self, Transport, TRANSPORTS};
use crate::check::check_eq;
use crate::guest::{expect_halt, posted_command, read_command, write_command};
use crate::region::{mmio, set, MMIO, PORT};
use crate::ring::USUAL;
use crate::rules::{self, doorbell, matching, NO_FD};
use crate::script::{Bus, Script, BUSES};
use crate::suite::{tests, Context};

tests!(
    "rules_doorbell",
    Ioregion,
    [
        eventfd_counts,
        datamatch_selects_the_queue,
        datamatch_has_the_width_of_the_rule,
        posted_in_order,
        posted_without_a_reader,
        datamatch_between_eventfd_and_device,
        closed_eventfd_still_rings,
        full_eventfd_holds_up_nobody,
        one_eventfd_for_two_doorbells,
        eventfd_that_raises_an_interrupt,
        vcpu_without_a_line_rings,
    ]
);

const NOTIFY: u32 = 0x50;

fn eventfd() -> Result<EventFd> {
    EventFd::new(EFD_NONBLOCK).context("eventfd")
}

/// How often the doorbell rang since the last look; 0 if it did not.
fn rings(event: &EventFd) -> u64 {
    event.read().unwrap_or(0)
}

fn eventfd_counts(_: &Context) -> Result<()> {
    for (transport, bus) in CARRIERS.into_iter().zip(BUSES) {
        for &width in bus.widths() {
            let event = eventfd()?;
            let program = Script::new(bus)
                .write(width, NOTIFY, 0)
                .write(width, NOTIFY, VALUE)
                .write(width, NOTIFY, u64::MAX)
                .end();
            let rules = [doorbell(width, NOTIFY, event.as_raw_fd())];
            let what = format!("{transport:?} {bus:?} {width:?}");
            let mut test = fixture(transport, bus, SIZE, &rules, &program)?;
            test.expect_commands(&[], &what)?;
            test.expect_registers(&[], &what)?;
            check_eq!(rings(&event), 3, "eventfd, {what}");
        }
    }
    Ok(())
}

/// As the queues of virtio-mmio: each its eventfd; other queues are the device's.
fn datamatch_selects_the_queue(_: &Context) -> Result<()> {
    for (transport, bus) in CARRIERS.into_iter().rev().zip(BUSES) {
        let queues = [eventfd()?, eventfd()?, eventfd()?];
        let rules: Vec<_> = (0..)
            .zip(&queues)
            .map(|(queue, event)| matching(doorbell(Width::Long, NOTIFY, event.as_raw_fd()), queue))
            .collect();
        let program = [2, 0, 3, 2, u64::from(u32::MAX), 2]
            .into_iter()
            .fold(Script::new(bus), |script, queue| {
                script.write(Width::Long, NOTIFY, queue)
            })
            .end();
        let mut test = fixture(transport, bus, SIZE, &rules, &program)?;
        let others = [3, u32::MAX.into()].map(|q| write_command(Width::Long, NOTIFY.into(), q));
        test.expect_commands(&others, &format!("{bus:?}"))?;
        check_eq!(
            [rings(&queues[0]), rings(&queues[1]), rings(&queues[2])],
            [1, 0, 3],
            "eventfds, {bus:?}"
        );
    }
    Ok(())
}

/// The bits of the register above the width do not count.
fn datamatch_has_the_width_of_the_rule(_: &Context) -> Result<()> {
    for &width in Bus::Mmio.widths() {
        let event = eventfd()?;
        let value = width.mask(VALUE);
        let program = Script::new(Bus::Mmio)
            .write(width, NOTIFY, VALUE)
            .write(width, NOTIFY, VALUE ^ 1)
            .write(width, NOTIFY, value ^ (1 << (8 * width.bytes() - 1)))
            .end();
        let rules = [matching(doorbell(width, NOTIFY, event.as_raw_fd()), value)];
        let mut test = fixture(Transport::Seqpacket, Bus::Mmio, SIZE, &rules, &program)?;
        let others = [value ^ 1, value ^ (1 << (8 * width.bytes() - 1))]
            .map(|data| write_command(width, NOTIFY.into(), data));
        test.expect_commands(&others, &format!("{width:?}"))?;
        check_eq!(rings(&event), 1, "eventfd, {width:?}");
    }
    Ok(())
}

/// A ring into the channel takes its place among the other accesses, with its data.
fn posted_in_order(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        for bus in BUSES {
            let program = Script::new(bus)
                .write(Width::Long, 0, 1)
                .write(Width::Long, NOTIFY, VALUE)
                .write(Width::Long, NOTIFY, 2)
                .read(Width::Long, 0)
                .write(Width::Word, NOTIFY, 3)
                .write(Width::Long, NOTIFY, 4)
                .end();
            let rules = [doorbell(Width::Long, NOTIFY, NO_FD)];
            let mut test = fixture(transport, bus, SIZE, &rules, &program)?;
            let at = u64::from(NOTIFY);
            let want = [
                write_command(Width::Long, 0, 1),
                posted_command(Width::Long, at, VALUE),
                posted_command(Width::Long, at, 2),
                read_command(Width::Long, 0),
                write_command(Width::Word, at, 3),
                posted_command(Width::Long, at, 4),
            ];
            test.expect_commands(&want, &format!("{transport:?} {bus:?}"))?;
        }
    }
    Ok(())
}

/// The guest goes on although the device does not answer, nor even look.
fn posted_without_a_reader(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let program = Script::new(Bus::Mmio)
            .write(Width::Word, NOTIFY, 7)
            .write(Width::Word, NOTIFY, 8)
            .end();
        let rules = [doorbell(Width::Word, NOTIFY, NO_FD)];
        let Fixture {
            mut vcpu,
            mut device,
            ..
        } = fixture(transport, Bus::Mmio, SIZE, &rules, &program)?;
        expect_halt(&vcpu.run()?)?;
        for data in [7, 8] {
            let want = posted_command(Width::Word, NOTIFY.into(), data);
            check_eq!(device.command()?, want, "command, {transport:?}");
        }
    }
    Ok(())
}

fn datamatch_between_eventfd_and_device(_: &Context) -> Result<()> {
    for transport in CARRIERS {
        let event = eventfd()?;
        let rules = [
            matching(doorbell(Width::Long, NOTIFY, event.as_raw_fd()), 0),
            matching(doorbell(Width::Long, NOTIFY, NO_FD), 1),
        ];
        let program = (0..3)
            .fold(Script::new(Bus::Mmio), |script, queue| {
                script.write(Width::Long, NOTIFY, queue)
            })
            .end();
        let mut test = fixture(transport, Bus::Mmio, SIZE, &rules, &program)?;
        let want = [
            posted_command(Width::Long, NOTIFY.into(), 1),
            write_command(Width::Long, NOTIFY.into(), 2),
        ];
        test.expect_commands(&want, &format!("{transport:?}"))?;
        check_eq!(rings(&event), 1, "eventfd, {transport:?}");
    }
    Ok(())
}

/// KVM has its own reference, as for an ioeventfd.
fn closed_eventfd_still_rings(_: &Context) -> Result<()> {
    let event = eventfd()?;
    let other = event.try_clone().context("dup")?;
    let program = Script::new(Bus::Mmio).write(Width::Long, NOTIFY, 0).end();
    let rules = [doorbell(Width::Long, NOTIFY, event.as_raw_fd())];
    let mut test = fixture(Transport::Ring, Bus::Mmio, SIZE, &rules, &program)?;
    drop(event);
    test.expect_commands(&[], "closed by the VMM")?;
    check_eq!(rings(&other), 1, "eventfd");
    let event = eventfd()?;
    let rules = [doorbell(Width::Long, NOTIFY, event.as_raw_fd())];
    let mut test = fixture(Transport::Ring, Bus::Mmio, SIZE, &rules, &program)?;
    drop(event);
    test.expect_commands(&[], "closed by everybody")
}

/// A counter at its largest value stays there.
fn full_eventfd_holds_up_nobody(_: &Context) -> Result<()> {
    let event = eventfd()?;
    event.write(u64::MAX - 1).context("fill the eventfd")?;
    let program = (0..4)
        .fold(Script::new(Bus::Mmio), |script, n| {
            script.write(Width::Long, NOTIFY, n)
        })
        .end();
    let rules = [doorbell(Width::Long, NOTIFY, event.as_raw_fd())];
    let mut test = fixture(Transport::Seqpacket, Bus::Mmio, SIZE, &rules, &program)?;
    test.expect_commands(&[], "full eventfd")?;
    check_eq!(rings(&event), u64::MAX, "eventfd");
    Ok(())
}

fn one_eventfd_for_two_doorbells(_: &Context) -> Result<()> {
    let event = eventfd()?;
    let rules = [
        doorbell(Width::Long, NOTIFY, event.as_raw_fd()),
        doorbell(Width::Byte, NOTIFY + 4, event.as_raw_fd()),
    ];
    let program = Script::new(Bus::Pio)
        .write(Width::Long, NOTIFY, 1)
        .write(Width::Byte, NOTIFY + 4, 1)
        .end();
    let mut test = fixture(Transport::Seqpacket, Bus::Pio, SIZE, &rules, &program)?;
    test.expect_commands(&[], "two doorbells")?;
    check_eq!(rings(&event), 2, "eventfd");
    Ok(())
}

/// The doorbell comes back to the guest as an interrupt, within KVM.
fn eventfd_that_raises_an_interrupt(_: &Context) -> Result<()> {
    const LINE: u32 = 5;
    let machine = Machine::with_irqchip()?;
    let (end, _device) = channel::open(Transport::Seqpacket)?;
    let region = mmio(MMIO, SIZE, &end);
    set(machine.fd(), &region)?;
    let event = eventfd()?;
    machine
        .fd()
        .register_irqfd(&event, LINE)
        .context("KVM_IRQFD")?;
    let rules = [doorbell(Width::Long, NOTIFY, event.as_raw_fd())];
    rules::set(machine.fd(), &region, None, &rules)?;
    let mut program = Asm::long();
    program
        .mov(Reg::Bx, MMIO + u64::from(NOTIFY))
        .store(Width::Long, Mem::At(Reg::Bx), Reg::Ax)
        .mov(Reg::Dx, PORT.into())
        .port_out(Width::Byte);
    check_eq!(machine.requested_interrupts()?, 0, "interrupts before");
    let mut vcpu = machine.add_vcpu(&program)?;
    // With interrupt controllers in KVM, hlt is no exit.
    let end = Access::PortOut {
        port: PORT,
        size: 1,
        data: vec![0],
    };
    check_eq!(vcpu.run()?, Exit::Access(end), "exit");
    // KVM raises an irqfd's line in a work item of its own.
    let requested = loop {
        match machine.requested_interrupts()? {
            0 => thread::yield_now(),
            lines => break lines,
        }
    };
    check_eq!(requested, 1 << LINE, "interrupts after");
    Ok(())
}

/// The channel has no completion line for it, and the eventfd needs none.
fn vcpu_without_a_line_rings(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    let one = KvmIoregionChannel { vcpus: 1, ..USUAL };
    let (end, mut device) = channel::open_ring(machine.fd(), &one)?;
    let region = mmio(MMIO, SIZE, &end);
    set(machine.fd(), &region)?;
    let event = eventfd()?;
    let rules = [doorbell(Width::Long, NOTIFY, event.as_raw_fd())];
    rules::set(machine.fd(), &region, None, &rules)?;
    let program = Script::new(Bus::Mmio).write(Width::Long, NOTIFY, 1).end();
    let _first = machine.add_vcpu(&program)?;
    let mut second = machine.add_vcpu(&program)?;
    expect_halt(&second.run()?)?;
    check_eq!(rings(&event), 1, "eventfd");
    check_eq!(device.take()?, None, "access");
    Ok(())
}

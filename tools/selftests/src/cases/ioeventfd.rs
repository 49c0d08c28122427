// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! ioeventfds inside a region: set before or after it, and they win.

use anyhow::{Context as _, Result};
use kvm_ioctls::{IoEventAddress, NoDatamatch};
use rawguest::{Asm, Machine, Mem, Reg, Width};
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

use crate::channel::{self, Transport};
use crate::check::check_eq;
use crate::guest::{read_command, write_command};
use crate::region::{mmio, pio, set, MMIO, PORT};
use crate::stage::{play_to_the_end, Signals};
use crate::suite::{tests, Context};

tests!(
    "ioeventfd",
    Ioregion,
    [
        wins_set_before,
        wins_set_after,
        datamatch_leaves_the_rest,
        ports
    ]
);

const DOORBELL: u64 = 0x50;
const MATCH: u32 = 7;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    EventFirst,
    RegionFirst,
}

fn wins_set_before(_: &Context) -> Result<()> {
    without_datamatch(Order::EventFirst)
}

fn wins_set_after(_: &Context) -> Result<()> {
    without_datamatch(Order::RegionFirst)
}

/// Writes beside the doorbell, to it, and reads from it.
fn without_datamatch(order: Order) -> Result<()> {
    let mut program = Asm::long();
    program
        .mov(Reg::Ax, MATCH.into())
        .mov(Reg::Bx, MMIO + DOORBELL - 4)
        .store(Width::Long, Mem::At(Reg::Bx), Reg::Ax)
        .add_imm(Reg::Bx, 4)
        .store(Width::Long, Mem::At(Reg::Bx), Reg::Ax)
        .store(Width::Long, Mem::At(Reg::Bx), Reg::Ax)
        .load(Width::Long, Reg::Ax, Mem::At(Reg::Bx))
        .halt();
    let machine = Machine::new()?;
    let (end, mut device) = channel::open(Transport::Seqpacket)?;
    let event = EventFd::new(EFD_NONBLOCK)?;
    let address = IoEventAddress::Mmio(MMIO + DOORBELL);
    let add_event = || machine.fd().register_ioevent(&event, &address, NoDatamatch);
    if order == Order::EventFirst {
        add_event().context("KVM_IOEVENTFD before the region")?;
    }
    set(machine.fd(), &mmio(MMIO, 0x1000, &end)).context("region around an ioeventfd")?;
    if order == Order::RegionFirst {
        add_event().context("KVM_IOEVENTFD inside the region")?;
    }
    let mut vcpu = machine.add_vcpu(&program)?;
    let log = play_to_the_end(&mut vcpu, &mut device, Signals::None, |_| Ok(5))?;
    let want = [
        write_command(Width::Long, DOORBELL - 4, MATCH.into()),
        read_command(Width::Long, DOORBELL),
    ];
    check_eq!(log, want, "commands");
    check_eq!(
        event.read().context("the ioeventfd was not signalled")?,
        2,
        "ioeventfd"
    );
    check_eq!(vcpu.reg(Reg::Ax)?, 5, "value read at the doorbell");
    Ok(())
}

/// Writes 6, 7 and 8 to a doorbell that matches 7.
fn datamatch_leaves_the_rest(_: &Context) -> Result<()> {
    for order in [Order::EventFirst, Order::RegionFirst] {
        let mut program = Asm::long();
        program.mov(Reg::Bx, MMIO + DOORBELL);
        for value in MATCH - 1..=MATCH + 1 {
            program
                .mov(Reg::Ax, value.into())
                .store(Width::Long, Mem::At(Reg::Bx), Reg::Ax);
        }
        program.halt();
        let machine = Machine::new()?;
        let (end, mut device) = channel::open(Transport::Seqpacket)?;
        let event = EventFd::new(EFD_NONBLOCK)?;
        let address = IoEventAddress::Mmio(MMIO + DOORBELL);
        let region = mmio(MMIO, 0x1000, &end);
        if order == Order::RegionFirst {
            set(machine.fd(), &region).context("region")?;
        }
        machine
            .fd()
            .register_ioevent(&event, &address, MATCH)
            .context("KVM_IOEVENTFD")?;
        if order == Order::EventFirst {
            set(machine.fd(), &region).context("region")?;
        }
        let mut vcpu = machine.add_vcpu(&program)?;
        let log = play_to_the_end(&mut vcpu, &mut device, Signals::None, |_| Ok(0))?;
        let write = |value: u32| write_command(Width::Long, DOORBELL, value.into());
        check_eq!(log, [write(MATCH - 1), write(MATCH + 1)], "commands");
        check_eq!(
            event.read().context("the ioeventfd was not signalled")?,
            1,
            "ioeventfd"
        );
    }
    Ok(())
}

fn ports(_: &Context) -> Result<()> {
    let mut program = Asm::long();
    program.mov(Reg::Dx, PORT.into()).mov(Reg::Ax, MATCH.into());
    program
        .port_out(Width::Word)
        .add_imm(Reg::Ax, 1)
        .port_out(Width::Word)
        .halt();
    let machine = Machine::new()?;
    let (end, mut device) = channel::open(Transport::Seqpacket)?;
    set(machine.fd(), &pio(PORT, 8, &end)).context("region")?;
    let event = EventFd::new(EFD_NONBLOCK)?;
    let address = IoEventAddress::Pio(PORT.into());
    machine
        .fd()
        .register_ioevent(&event, &address, MATCH as u16)
        .context("KVM_IOEVENTFD")?;
    let mut vcpu = machine.add_vcpu(&program)?;
    let log = play_to_the_end(&mut vcpu, &mut device, Signals::None, |_| Ok(0))?;
    check_eq!(
        log,
        [write_command(Width::Word, 0, u64::from(MATCH) + 1)],
        "commands"
    );
    check_eq!(
        event.read().context("the ioeventfd was not signalled")?,
        1,
        "ioeventfd"
    );
    Ok(())
}

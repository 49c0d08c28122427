// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! ioeventfds inside a region: set before or after it, and they win.

use anyhow::{Context as _, Result};
use ioregion_wire::frame::Command;
use kvm_ioctls::{IoEventAddress, NoDatamatch, VmFd};
use rawguest::{Asm, Machine, Mem, Reg, Width};
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

use crate::channel::{self, Transport};
use crate::check::check_eq;
use crate::guest::{read_command, write_command};
use crate::region::{page, pio, set, MMIO, PORT};
use crate::scene::{scene, Scene};
use crate::stage::Signals;
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

/// A guest with a region and an ioeventfd in it.
struct Fixture {
    scene: Scene,
    event: EventFd,
}

impl Fixture {
    /// `add` makes the ioeventfd, before or after the region.
    fn new(
        order: Order,
        program: &Asm,
        add: impl Fn(&VmFd, &EventFd) -> Result<(), kvm_ioctls::Error>,
    ) -> Result<Self> {
        let machine = Machine::new()?;
        let (end, device) = channel::open(Transport::Seqpacket)?;
        let event = EventFd::new(EFD_NONBLOCK)?;
        if order == Order::EventFirst {
            add(machine.fd(), &event).context("KVM_IOEVENTFD before the region")?;
        }
        let region = page(&end);
        set(machine.fd(), &region).context("region")?;
        if order == Order::RegionFirst {
            add(machine.fd(), &event).context("KVM_IOEVENTFD inside the region")?;
        }
        let vcpu = machine.add_vcpu(program)?;
        let scene = Scene {
            machine,
            region,
            vcpu,
            device,
        };
        Ok(Self { scene, event })
    }

    /// Runs the guest to its end. The device, which answers with 5, must get these commands, and
    /// the ioeventfd so many writes.
    fn check(&mut self, commands: &[Command], rings: u64) -> Result<()> {
        let log = self.scene.run(Signals::None, |_| Ok(5))?;
        check_eq!(log, commands, "commands");
        check_eq!(self.event.read().unwrap_or(0), rings, "ioeventfd");
        Ok(())
    }
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
    let mut test = Fixture::new(order, &program, |vm, event| {
        vm.register_ioevent(event, &IoEventAddress::Mmio(MMIO + DOORBELL), NoDatamatch)
    })?;
    let want = [
        write_command(Width::Long, DOORBELL - 4, MATCH.into()),
        read_command(Width::Long, DOORBELL),
    ];
    test.check(&want, 2)?;
    check_eq!(
        test.scene.vcpu.reg(Reg::Ax)?,
        5,
        "value read at the doorbell"
    );
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
        let mut test = Fixture::new(order, &program, |vm, event| {
            vm.register_ioevent(event, &IoEventAddress::Mmio(MMIO + DOORBELL), MATCH)
        })?;
        let write = |value: u32| write_command(Width::Long, DOORBELL, value.into());
        test.check(&[write(MATCH - 1), write(MATCH + 1)], 1)?;
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
    let scene = scene(Transport::Seqpacket, &program, |end| pio(PORT, 8, end))?;
    let event = EventFd::new(EFD_NONBLOCK)?;
    let address = IoEventAddress::Pio(PORT.into());
    let vm = scene.machine.fd();
    vm.register_ioevent(&event, &address, MATCH as u16)
        .context("KVM_IOEVENTFD")?;
    let mut test = Fixture { scene, event };
    test.check(&[write_command(Width::Word, 0, u64::from(MATCH) + 1)], 1)
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Plain exits: what KVM does without a region, and what the other tests build on.

use anyhow::Result;
use rawguest::{ram, Access, Asm, Exit, Kicker, Machine, Mem, Reg, Storm, Width};

use crate::check::check_eq;
use crate::guest::{
    self, expect_halt, mmio_read, mmio_write, read_once, sum_of_reads, write_once, MMIO_WIDTHS,
    PORT_WIDTHS,
};
use crate::region::{MMIO, PORT};
use crate::suite::{tests, Context};

tests!(
    "exits",
    Kvm,
    [
        mmio_of_every_width,
        real_mode,
        ports_of_every_width,
        strings,
        sixteen_bytes,
        page_crossing,
        storm_leaves_the_sum_alone,
        immediate_exit_runs_nothing,
    ]
);

const VALUE: u64 = 0x8877_6655_4433_2211;

fn mmio_of_every_width(_: &Context) -> Result<()> {
    for width in MMIO_WIDTHS {
        let bytes = &VALUE.to_le_bytes()[..width.bytes()];
        let machine = Machine::new()?;
        let mut vcpu = machine.add_vcpu(&read_once(width, MMIO))?;
        check_eq!(vcpu.run()?, mmio_read(MMIO, width.bytes()), "load");
        vcpu.supply(bytes);
        expect_halt(&vcpu.run()?)?;
        check_eq!(vcpu.reg(Reg::Ax)?, width.mask(VALUE), "value loaded");

        let mut vcpu = machine.add_vcpu(&write_once(width, MMIO, VALUE))?;
        check_eq!(vcpu.run()?, mmio_write(MMIO, bytes), "store");
        expect_halt(&vcpu.run()?)?;
    }
    Ok(())
}

fn real_mode(_: &Context) -> Result<()> {
    let mut program = Asm::real(MMIO as u32);
    program
        .mov(Reg::Bx, 0x10)
        .load(Width::Long, Reg::Ax, Mem::At(Reg::Bx))
        .store(Width::Long, Mem::Ram(ram::DATA as u32), Reg::Ax)
        .halt();
    let machine = Machine::new()?;
    let mut vcpu = machine.add_vcpu(&program)?;
    check_eq!(vcpu.run()?, mmio_read(MMIO + 0x10, 4), "load");
    vcpu.supply(&0x1234_5678u32.to_le_bytes());
    expect_halt(&vcpu.run()?)?;
    check_eq!(
        machine.ram().load::<u32>(ram::DATA)?,
        0x1234_5678,
        "value stored to RAM"
    );
    Ok(())
}

fn ports_of_every_width(_: &Context) -> Result<()> {
    for width in PORT_WIDTHS {
        let size = width.bytes();
        let bytes = &VALUE.to_le_bytes()[..size];
        let mut program = Asm::long();
        program
            .mov(Reg::Dx, PORT.into())
            .port_in(width)
            .port_out(width)
            .halt();
        let mut vcpu = Machine::new()?.add_vcpu(&program)?;
        let port_in = Access::PortIn {
            port: PORT,
            size,
            count: 1,
        };
        check_eq!(vcpu.run()?, Exit::Access(port_in), "in");
        vcpu.supply(bytes);
        let port_out = Access::PortOut {
            port: PORT,
            size,
            data: bytes.to_vec(),
        };
        check_eq!(vcpu.run()?, Exit::Access(port_out), "out of what came in");
        expect_halt(&vcpu.run()?)?;
    }
    Ok(())
}

fn strings(_: &Context) -> Result<()> {
    let mut program = Asm::long();
    program
        .mov(Reg::Dx, PORT.into())
        .mov(Reg::Cx, 3)
        .mov(Reg::Di, ram::DATA)
        .rep_ins(Width::Word)
        .mov(Reg::Cx, 3)
        .mov(Reg::Si, ram::DATA)
        .rep_outs(Width::Word)
        .halt();
    let machine = Machine::new()?;
    let mut vcpu = machine.add_vcpu(&program)?;
    let data = [1, 2, 3, 4, 5, 6];
    let port_in = Access::PortIn {
        port: PORT,
        size: 2,
        count: 3,
    };
    check_eq!(vcpu.run()?, Exit::Access(port_in), "rep insw");
    vcpu.supply(&data);
    for element in data.chunks(2) {
        let port_out = Access::PortOut {
            port: PORT,
            size: 2,
            data: element.to_vec(),
        };
        check_eq!(vcpu.run()?, Exit::Access(port_out), "rep outsw");
    }
    expect_halt(&vcpu.run()?)
}

fn sixteen_bytes(_: &Context) -> Result<()> {
    let mut program = Asm::long();
    program
        .mov(Reg::Bx, MMIO)
        .load_sse(Mem::At(Reg::Bx))
        .store_sse(Mem::At(Reg::Bx))
        .halt();
    let mut vcpu = Machine::new()?.add_vcpu(&program)?;
    for half in 0..2 {
        check_eq!(vcpu.run()?, mmio_read(MMIO + 8 * half, 8), "half of a load");
        vcpu.supply(&(VALUE + half).to_le_bytes());
    }
    for half in 0..2 {
        let bytes = (VALUE + half).to_le_bytes();
        check_eq!(
            vcpu.run()?,
            mmio_write(MMIO + 8 * half, &bytes),
            "half of a store"
        );
    }
    expect_halt(&vcpu.run()?)
}

fn page_crossing(_: &Context) -> Result<()> {
    let mut vcpu = Machine::new()?.add_vcpu(&read_once(Width::Quad, MMIO + 0xffd))?;
    check_eq!(vcpu.run()?, mmio_read(MMIO + 0xffd, 3), "first page");
    vcpu.supply(&VALUE.to_le_bytes()[..3]);
    check_eq!(vcpu.run()?, mmio_read(MMIO + 0x1000, 5), "second page");
    vcpu.supply(&VALUE.to_le_bytes()[3..]);
    expect_halt(&vcpu.run()?)?;
    check_eq!(vcpu.reg(Reg::Ax)?, VALUE, "value loaded");
    Ok(())
}

fn storm_leaves_the_sum_alone(context: &Context) -> Result<()> {
    const COUNT: u32 = 2000;
    let mut vcpu = Machine::new()?.add_vcpu(&sum_of_reads(Width::Long, MMIO, COUNT))?;
    let _storm = Storm::start(Kicker::for_this_thread(&vcpu)?, context.between_signals())?;
    let (mut interruptions, mut reads) = (0, 0);
    loop {
        match vcpu.run()? {
            Exit::Interrupted => interruptions += 1,
            exit if exit == guest::mmio_read(MMIO, 4) => {
                reads += 1u32;
                vcpu.supply(&reads.to_le_bytes());
            }
            exit => break expect_halt(&exit)?,
        }
    }
    check_eq!(
        vcpu.reg(Reg::Si)?,
        u64::from(COUNT * (COUNT + 1) / 2),
        "sum of the values"
    );
    anyhow::ensure!(interruptions > 0, "no signal came through");
    Ok(())
}

fn immediate_exit_runs_nothing(_: &Context) -> Result<()> {
    let mut vcpu = Machine::new()?.add_vcpu(&read_once(Width::Long, MMIO))?;
    vcpu.set_immediate_exit(true);
    check_eq!(
        vcpu.run()?,
        Exit::Interrupted,
        "KVM_RUN with immediate_exit"
    );
    vcpu.set_immediate_exit(false);
    check_eq!(vcpu.run()?, mmio_read(MMIO, 4), "the first access");
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Posted writes and doorbells: nobody answers, and nobody waits.

use anyhow::Result;
use rawguest::{Access, Asm, Exit, Mem, Reg, Width};

use super::access::{commands, SIZE, VALUE};
use crate::channel::{Transport, TRANSPORTS};
use crate::check::check_eq;
use crate::guest::{
    counting_writes, expect_halt, mmio_read, mmio_write, posted_command, MMIO_WIDTHS, PORT_WIDTHS,
};
use crate::region::{mmio, pio, posted, MMIO, PORT};
use crate::scene::scene;
use crate::stage::with_device;
use crate::suite::{tests, Context};

tests!(
    "posted",
    Ioregion,
    [
        writes_keep_their_order,
        writes_to_ports,
        doorbell,
        doorbell_on_a_port
    ]
);

fn writes_keep_their_order(_: &Context) -> Result<()> {
    const COUNT: u32 = 500;
    for transport in TRANSPORTS {
        let program = counting_writes(Width::Quad, MMIO, COUNT);
        let mut test = scene(transport, &program, |end| posted(mmio(MMIO, SIZE, end)))?;
        let log = commands(&mut test.vcpu, &mut test.device)?;
        let want: Vec<_> = (1..=COUNT)
            .map(|value| posted_command(Width::Quad, 0, value.into()))
            .collect();
        check_eq!(log, want, "commands, {transport:?}");
    }
    Ok(())
}

fn writes_to_ports(_: &Context) -> Result<()> {
    let mut program = Asm::long();
    program.mov(Reg::Dx, PORT.into());
    program.repeat(3, |body| {
        body.port_out(Width::Long).add_imm(Reg::Ax, 1);
    });
    program.halt();
    let mut test = scene(Transport::Stream, &program, |end| posted(pio(PORT, 4, end)))?;
    // Nobody answers, and nobody has to: the guest ends before the device reads.
    expect_halt(&test.vcpu.run()?)?;
    for value in 0..3 {
        check_eq!(
            test.device.command()?,
            posted_command(Width::Long, 0, value),
            "command"
        );
    }
    Ok(())
}

fn doorbell(_: &Context) -> Result<()> {
    let bell = MMIO + 0x50;
    let mut program = Asm::long();
    program.mov(Reg::Bx, bell).mov(Reg::Ax, VALUE);
    for width in MMIO_WIDTHS {
        program.store(width, Mem::At(Reg::Bx), Reg::Ax);
    }
    program.load(Width::Long, Reg::Ax, Mem::At(Reg::Bx));
    program
        .add_imm(Reg::Bx, 1)
        .store(Width::Byte, Mem::At(Reg::Bx), Reg::Ax);
    program
        .add_imm(Reg::Bx, -4)
        .store(Width::Long, Mem::At(Reg::Bx), Reg::Ax)
        .halt();
    let mut test = scene(Transport::Seqpacket, &program, |end| {
        posted(mmio(bell, 0, end))
    })?;
    let (exits, log) = with_device(
        &mut test.device,
        |_| Ok(0),
        || {
            let read = test.vcpu.run()?;
            test.vcpu.supply(&0u32.to_le_bytes());
            Ok([read, test.vcpu.run()?, test.vcpu.run()?, test.vcpu.run()?])
        },
    )?;
    let want = [
        mmio_read(bell, 4),
        mmio_write(bell + 1, &[0]),
        mmio_write(bell - 3, &[0; 4]),
        Exit::Halt,
    ];
    check_eq!(exits, want, "exits: a read at it, and writes beside it");
    check_eq!(
        log,
        [posted_command(Width::Byte, 0, 0); 4],
        "commands: size 0, data 0"
    );
    Ok(())
}

fn doorbell_on_a_port(_: &Context) -> Result<()> {
    let mut program = Asm::long();
    program.mov(Reg::Dx, PORT.into()).mov(Reg::Ax, VALUE);
    for width in PORT_WIDTHS {
        program.port_out(width);
    }
    program.port_in(Width::Byte).halt();
    let mut test = scene(Transport::Seqpacket, &program, |end| {
        posted(pio(PORT, 0, end))
    })?;
    let read = Access::PortIn {
        port: PORT,
        size: 1,
        count: 1,
    };
    let (exits, log) = with_device(
        &mut test.device,
        |_| Ok(0),
        || Ok([test.vcpu.run()?, test.vcpu.run()?]),
    )?;
    check_eq!(
        exits,
        [Exit::Access(read), Exit::Halt],
        "exits: a read at it"
    );
    check_eq!(
        log,
        [posted_command(Width::Byte, 0, 0); 3],
        "commands: size 0, data 0"
    );
    Ok(())
}

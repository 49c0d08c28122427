// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A VMM that writes to `kvm_run` whenever it has the chance: the access that is under way is
//! the guest's, and stays what it is.

use std::sync::mpsc;

use anyhow::Result;
use ioregion_wire::frame::Command;
use ioregion_wire::uapi::KvmIoregion;
use rawguest::{ram, Asm, Exit, Kicker, Machine, Mem, Reg, Vcpu, Width};

use crate::channel::{self, DeviceEnd, Transport};
use crate::check::check_eq;
use crate::guest::{expect_halt, read_command, write_command};
use crate::region::{mmio, pio, set, MMIO, PORT};
use crate::stage::with_device;
use crate::suite::{tests, Context};

tests!(
    "trust",
    Ioregion,
    [
        scribbled_mmio,
        scribbled_string_input,
        scribbled_string_output
    ]
);

/// Bytes that make lengths, counts and offsets large, small, and in between.
const BYTES: [u8; 4] = [0xff, 0x00, 0x01, 0x7f];

/// Runs the guest to its end; each command finds the vCPU interrupted and `kvm_run` scribbled
/// over before it is answered, with 1, 2, 3 and so on.
fn run_scribbling(
    machine: &Machine,
    region: &KvmIoregion,
    device: &mut DeviceEnd,
    program: &Asm,
    byte: u8,
) -> Result<(Vcpu, Vec<Command>)> {
    set(machine.fd(), region)?;
    let mut vcpu = machine.add_vcpu(program)?;
    let kicker = Kicker::for_this_thread(&vcpu)?;
    let (interrupted, interruptions) = mpsc::channel();
    let mut n = 0;
    let answer = move |_: &_| {
        kicker.kick();
        interruptions.recv()?;
        n += 1;
        Ok(n)
    };
    let (exit, log) = with_device(device, answer, || loop {
        match vcpu.run()? {
            Exit::Interrupted => {
                vcpu.scribble(byte);
                interrupted.send(())?;
            }
            exit => return Ok(exit),
        }
    })?;
    expect_halt(&exit)?;
    Ok((vcpu, log))
}

/// One instruction, several commands: address, length and progress are the kernel's own.
/// (The bytes that are complete already lie in `kvm_run.mmio.data`, where a VMM may change them,
/// as it may for any exit; the value is checked where no fragment has two pieces.)
fn scribbled_mmio(_: &Context) -> Result<()> {
    for byte in BYTES {
        let odd = [
            read_command(Width::Byte, 0xffd),
            read_command(Width::Word, 0xffe),
            read_command(Width::Quad, 0x1000),
            read_command(Width::Long, 0x1008),
            read_command(Width::Byte, 0x100c),
        ];
        read_sixteen(0xffd, byte, &odd)?;
        let even = [
            read_command(Width::Quad, 0xff8),
            read_command(Width::Quad, 0x1000),
        ];
        let value = read_sixteen(0xff8, byte, &even)?;
        let want = [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0];
        check_eq!(value, want, "value, byte {byte:#x}");
    }
    Ok(())
}

fn read_sixteen(offset: u64, byte: u8, want: &[Command]) -> Result<[u8; 16]> {
    let mut program = Asm::long();
    program
        .mov(Reg::Bx, MMIO + offset)
        .load_sse(Mem::At(Reg::Bx))
        .halt();
    let machine = Machine::new()?;
    let (end, mut device) = channel::open(Transport::Seqpacket)?;
    let region = mmio(MMIO, 0x2000, &end);
    let (vcpu, log) = run_scribbling(&machine, &region, &mut device, &program, byte)?;
    check_eq!(log, want, "commands, byte {byte:#x}");
    Ok(vcpu.xmm0()?)
}

fn scribbled_string_input(_: &Context) -> Result<()> {
    let mut program = Asm::long();
    program
        .mov(Reg::Dx, PORT.into())
        .mov(Reg::Cx, 5)
        .mov(Reg::Di, ram::DATA);
    program.rep_ins(Width::Word).halt();
    for byte in BYTES {
        let machine = Machine::new()?;
        let (end, mut device) = channel::open(Transport::Seqpacket)?;
        let region = pio(PORT, 8, &end);
        let (_, log) = run_scribbling(&machine, &region, &mut device, &program, byte)?;
        check_eq!(
            log,
            [read_command(Width::Word, 0); 5],
            "commands, byte {byte:#x}"
        );
        let value = [1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 0, 0];
        check_eq!(
            machine.ram().read(ram::DATA, 12)?,
            value,
            "RAM, byte {byte:#x}"
        );
    }
    Ok(())
}

fn scribbled_string_output(_: &Context) -> Result<()> {
    let mut program = Asm::long();
    program
        .mov(Reg::Dx, PORT.into())
        .mov(Reg::Cx, 5)
        .mov(Reg::Si, ram::DATA);
    program.rep_outs(Width::Byte).halt();
    for byte in BYTES {
        let machine = Machine::new()?;
        machine.ram().write(ram::DATA, &[9, 8, 7, 6, 5])?;
        let (end, mut device) = channel::open(Transport::Seqpacket)?;
        let region = pio(PORT, 8, &end);
        let (_, log) = run_scribbling(&machine, &region, &mut device, &program, byte)?;
        let want = [9, 8, 7, 6, 5].map(|value| write_command(Width::Byte, 0, value));
        check_eq!(log, want, "commands, byte {byte:#x}");
    }
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! One access, one command, one reply: every width, both buses, every transport.

use anyhow::Result;
use ioregion_wire::frame::{Command, FRAME_SIZE};
use ioregion_wire::uapi::KvmIoregion;
use rawguest::{ram, Asm, Exit, Machine, Mem, Reg, Vcpu, Width};

use crate::channel::{self, DeviceEnd, Transport, TRANSPORTS};
use crate::check::check_eq;
use crate::guest::{expect_halt, mmio_read, posted_command, read_command, write_command};
use crate::region::{mmio, pio, posted, set, MMIO, PORT};
use crate::scene::scene;
use crate::script::{values, Bus, Script};
use crate::stage::{play, play_to_the_end, Signals};
use crate::suite::{tests, Context};

tests!(
    "access",
    Ioregion,
    [
        mmio_reads,
        mmio_writes,
        port_reads,
        port_writes,
        real_mode,
        frames_to_the_bit,
        reply_bits_above_the_width_are_ignored,
        whole_region_and_no_more,
        regions_share_a_channel,
        regions_with_shared_replies_only,
    ]
);

pub(super) const SIZE: u64 = 0x1000;
pub(super) const VALUE: u64 = 0x8877_6655_4433_2211;

/// Runs the guest to its end; the device answers everything with `VALUE`.
pub(super) fn commands(vcpu: &mut Vcpu, device: &mut DeviceEnd) -> Result<Vec<Command>> {
    let log = play_to_the_end(vcpu, device, Signals::None, |_| Ok(VALUE))?;
    Ok(log)
}

/// Where the accesses of each width are.
const OFFSET: u32 = 0x68;

fn check_reads(bus: Bus) -> Result<()> {
    for transport in TRANSPORTS {
        for &width in bus.widths() {
            let what = format!("{transport:?} {width:?}");
            let program = Script::new(bus).read(width, OFFSET).end();
            let mut scene = scene(transport, &program, |end| bus.region(SIZE, end))?;
            let log = commands(&mut scene.vcpu, &mut scene.device)?;
            let want = [read_command(width, OFFSET.into())];
            check_eq!(log, want, "commands, {what}");
            let want = [width.mask(VALUE)];
            check_eq!(values(&scene.machine, 1)?, want, "value, {what}");
        }
    }
    Ok(())
}

fn check_writes(bus: Bus) -> Result<()> {
    for transport in TRANSPORTS {
        for &width in bus.widths() {
            let program = Script::new(bus).write(width, OFFSET, VALUE).end();
            let mut scene = scene(transport, &program, |end| bus.region(SIZE, end))?;
            let log = commands(&mut scene.vcpu, &mut scene.device)?;
            let want = [write_command(width, OFFSET.into(), VALUE)];
            check_eq!(log, want, "commands, {transport:?} {width:?}");
        }
    }
    Ok(())
}

fn mmio_reads(_: &Context) -> Result<()> {
    check_reads(Bus::Mmio)
}

fn mmio_writes(_: &Context) -> Result<()> {
    check_writes(Bus::Mmio)
}

fn port_reads(_: &Context) -> Result<()> {
    check_reads(Bus::Pio)
}

fn port_writes(_: &Context) -> Result<()> {
    check_writes(Bus::Pio)
}

fn real_mode(_: &Context) -> Result<()> {
    let mut program = Asm::real(MMIO as u32);
    program
        .mov(Reg::Bx, 0x68)
        .load(Width::Long, Reg::Ax, Mem::At(Reg::Bx))
        .store(Width::Long, Mem::Ram(ram::DATA as u32), Reg::Ax)
        .store(Width::Word, Mem::At(Reg::Bx), Reg::Ax)
        .halt();
    let mut test = scene(Transport::Seqpacket, &program, |end| mmio(MMIO, SIZE, end))?;
    let log = commands(&mut test.vcpu, &mut test.device)?;
    let want = [
        read_command(Width::Long, 0x68),
        write_command(Width::Word, 0x68, VALUE),
    ];
    check_eq!(log, want, "commands");
    check_eq!(
        test.machine.ram().load::<u32>(ram::DATA)?,
        VALUE as u32,
        "value in RAM"
    );
    Ok(())
}

/// Every bit of the frame, not only those that a device decodes.
fn frames_to_the_bit(_: &Context) -> Result<()> {
    let mut program = Asm::long();
    program.mov(Reg::Bx, MMIO + 0x10).mov(Reg::Ax, VALUE);
    program.store(Width::Long, Mem::At(Reg::Bx), Reg::Ax);
    program.load(Width::Word, Reg::Ax, Mem::At(Reg::Bx)).halt();
    let mut test = scene(Transport::Seqpacket, &program, |end| {
        posted(mmio(MMIO, SIZE, end))
    })?;
    let frame = |command: Command| Some(command.encode());
    let (exit, frames) = std::thread::scope(|scope| {
        let frames = scope.spawn(|| -> Result<[Option<[u8; FRAME_SIZE]>; 2]> {
            let frames = [test.device.frame()?, test.device.frame()?];
            test.device.reply(0)?;
            Ok(frames)
        });
        (test.vcpu.run(), frames.join())
    });
    expect_halt(&exit?)?;
    let frames = frames.map_err(|_| anyhow::anyhow!("the device panicked"))??;
    check_eq!(
        frames[0],
        frame(posted_command(Width::Long, 0x10, VALUE)),
        "posted write"
    );
    check_eq!(frames[1], frame(read_command(Width::Word, 0x10)), "read");
    Ok(())
}

fn reply_bits_above_the_width_are_ignored(_: &Context) -> Result<()> {
    for width in [Width::Byte, Width::Word] {
        let mut program = Asm::long();
        program
            .mov(Reg::Bx, MMIO)
            .load(width, Reg::Ax, Mem::At(Reg::Bx))
            .halt();
        let mut test = scene(Transport::Seqpacket, &program, |end| mmio(MMIO, SIZE, end))?;
        let old = 0x0123_4567_89ab_cdef;
        test.vcpu.set_reg(Reg::Ax, old)?;
        commands(&mut test.vcpu, &mut test.device)?;
        let want = old & !width.mask(u64::MAX) | width.mask(VALUE);
        check_eq!(
            test.vcpu.reg(Reg::Ax)?,
            want,
            "register after a load of {width:?}"
        );
    }
    Ok(())
}

fn whole_region_and_no_more(_: &Context) -> Result<()> {
    let mut program = Asm::long();
    program.mov(Reg::Bx, MMIO - 1);
    for _ in 0..6 {
        program
            .load(Width::Byte, Reg::Ax, Mem::At(Reg::Bx))
            .add_imm(Reg::Bx, 1);
    }
    program.halt();
    let mut test = scene(Transport::Seqpacket, &program, |end| mmio(MMIO, 4, end))?;
    let (exits, log) = play(
        &mut test.vcpu,
        &mut test.device,
        Signals::None,
        |_| Ok(0),
        |driver| Ok([driver.run()?, driver.run()?, driver.run()?]),
    )?;
    check_eq!(
        exits,
        [mmio_read(MMIO - 1, 1), mmio_read(MMIO + 4, 1), Exit::Halt],
        "exits"
    );
    let want: Vec<_> = (0..4)
        .map(|offset| read_command(Width::Byte, offset))
        .collect();
    check_eq!(log, want, "commands");
    Ok(())
}

fn regions_share_a_channel(_: &Context) -> Result<()> {
    let mut program = Asm::long();
    program
        .mov(Reg::Bx, MMIO + 4)
        .mov(Reg::Si, MMIO + 0x2008)
        .mov(Reg::Dx, PORT.into());
    program.repeat(10, |body| {
        body.load(Width::Long, Reg::Ax, Mem::At(Reg::Bx));
        body.store(Width::Long, Mem::At(Reg::Si), Reg::Ax);
        body.port_out(Width::Byte);
    });
    program.halt();
    for transport in TRANSPORTS {
        let machine = Machine::new()?;
        let (end, mut device) = channel::open_on(machine.fd(), transport)?;
        let regions = [
            mmio(MMIO, 0x1000, &end),
            mmio(MMIO + 0x2000, 0x10, &end),
            pio(PORT, 1, &end),
        ];
        for (region, user_data) in regions.into_iter().zip(1..) {
            set(
                machine.fd(),
                &KvmIoregion {
                    user_data,
                    ..region
                },
            )?;
        }
        let log = commands(&mut machine.add_vcpu(&program)?, &mut device)?;
        let round = [
            Command {
                user_data: 1,
                ..read_command(Width::Long, 4)
            },
            Command {
                user_data: 2,
                ..write_command(Width::Long, 8, VALUE)
            },
            Command {
                user_data: 3,
                ..write_command(Width::Byte, 0, VALUE)
            },
        ];
        check_eq!(log, round.repeat(10), "commands, {transport:?}");
    }
    Ok(())
}

/// Two regions whose commands go two ways and whose replies come one way.
fn regions_with_shared_replies_only(_: &Context) -> Result<()> {
    let mut program = Asm::long();
    program.mov(Reg::Bx, MMIO).mov(Reg::Si, MMIO + 0x1000);
    program.load(Width::Long, Reg::Ax, Mem::At(Reg::Bx));
    program.load(Width::Long, Reg::Di, Mem::At(Reg::Si)).halt();
    let machine = Machine::new()?;
    let (first_end, mut first) = channel::open(Transport::Pipes)?;
    let (second_end, mut second) = channel::open(Transport::Pipes)?;
    set(machine.fd(), &mmio(MMIO, 0x1000, &first_end))?;
    let region = mmio(MMIO + 0x1000, 0x1000, &second_end);
    set(
        machine.fd(),
        &KvmIoregion {
            read_fd: first_end.read_fd(),
            ..region
        },
    )?;
    let mut vcpu = machine.add_vcpu(&program)?;
    let second_device = std::thread::scope(|scope| {
        let device = scope.spawn(move || -> Result<[Command; 2]> {
            let one = first.command()?;
            first.reply(1)?;
            let other = second.command()?;
            first.reply(2)?;
            Ok([one, other])
        });
        expect_halt(&vcpu.run()?)?;
        device
            .join()
            .map_err(|_| anyhow::anyhow!("the device panicked"))?
    })?;
    let want = read_command(Width::Long, 0);
    check_eq!(second_device, [want, want], "commands");
    check_eq!((vcpu.reg(Reg::Ax)?, vcpu.reg(Reg::Di)?), (1, 2), "values");
    Ok(())
}

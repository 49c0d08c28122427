// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `rep ins` and `rep outs`: each element is one command, in order, and none is made up.

use anyhow::{ensure, Context as _, Result};
use ioregion_wire::uapi::KvmIoregion;
use rawguest::{ram, Access, Asm, Exit, Reg, Width};

use crate::channel::{DeviceEnd, Transport, TRANSPORTS};
use crate::check::check_eq;
use crate::expect::Expected;
use crate::guest::{expect_halt, posted_command, read_command, write_command, PORT_WIDTHS};
use crate::region::{pio, posted, PORT};
use crate::scene::scene;
use crate::stage::{while_running, Signals, SIGNALS};
use crate::suite::{tests, Context};
use crate::tasks;

tests!(
    "string",
    Ioregion,
    [
        ins,
        outs,
        outs_posted,
        ins_from_a_dying_device,
        outs_to_a_dying_device,
        beside_a_region
    ]
);

/// One that carries frames, and shared memory.
const CARRIERS: [Transport; 2] = [Transport::Seqpacket, Transport::Ring];
/// The last is more than KVM takes at a time.
const COUNTS: [u64; 5] = [1, 2, 7, 100, 1100];
/// Elements before the device dies, of all that the guest asks for.
const ALIVE: u64 = 3;
const ALL: u64 = 8;

fn ins_program(width: Width, port: u16, count: u64) -> Asm {
    let mut program = Asm::long();
    program
        .mov(Reg::Dx, port.into())
        .mov(Reg::Cx, count)
        .mov(Reg::Di, ram::DATA);
    program.rep_ins(width).halt();
    program
}

fn outs_program(width: Width, port: u16, count: u64) -> Asm {
    let mut program = Asm::long();
    program
        .mov(Reg::Dx, port.into())
        .mov(Reg::Cx, count)
        .mov(Reg::Si, ram::DATA);
    program.rep_outs(width).halt();
    program
}

/// The n-th element, counted from 1; no two neighbours are alike in any byte that counts.
fn element(n: u64) -> u64 {
    n.wrapping_mul(0x0101_0107)
}

fn elements(width: Width, range: impl Iterator<Item = u64>) -> Vec<u8> {
    range
        .flat_map(|n| element(n).to_le_bytes().into_iter().take(width.bytes()))
        .collect()
}

/// Kicking the vCPU at each of many elements, or many elements of each width, would test nothing
/// more.
fn worth_it(signals: Signals, width: Width, count: u64) -> bool {
    count <= 7
        || count <= 100 && (signals == Signals::None || width == Width::Word)
        || signals == Signals::None && width == Width::Byte
}

fn everything_worth_it(check: fn(Transport, Signals, Width, u64) -> Result<()>) -> Result<()> {
    tasks::stay_on_one_cpu()?;
    for transport in CARRIERS {
        for signals in SIGNALS {
            for width in PORT_WIDTHS {
                for count in COUNTS {
                    if worth_it(signals, width, count) {
                        check(transport, signals, width, count)?;
                    }
                }
            }
        }
    }
    Ok(())
}

fn ins(_: &Context) -> Result<()> {
    everything_worth_it(check_ins)
}

fn check_ins(transport: Transport, signals: Signals, width: Width, count: u64) -> Result<()> {
    let what = format!("{transport:?}, {count} elements of {width:?}, signals {signals:?}");
    let program = ins_program(width, PORT + 4, count);
    let mut scene = scene(transport, &program, |end| pio(PORT, 8, end))?;
    let mut n = 0;
    let answer = |_: &_| {
        n += 1;
        Ok(element(n))
    };
    let log = scene.run(signals, answer)?;
    check_eq!(
        log,
        vec![read_command(width, 4); count as usize],
        "commands, {what}"
    );
    let want = elements(width, 1..=count);
    let got = scene.machine.ram().read(ram::DATA, want.len())?;
    check_eq!(got, want, "RAM, {what}");
    Ok(())
}

fn outs(_: &Context) -> Result<()> {
    everything_worth_it(check_outs)
}

fn check_outs(transport: Transport, signals: Signals, width: Width, count: u64) -> Result<()> {
    let program = outs_program(width, PORT + 4, count);
    let mut scene = scene(transport, &program, |end| pio(PORT, 8, end))?;
    scene
        .machine
        .ram()
        .write(ram::DATA, &elements(width, 1..=count))?;
    let log = scene.run(signals, |_| Ok(0))?;
    let write = |n| write_command(width, 4, element(n));
    let want: Vec<_> = (1..=count).map(write).collect();
    check_eq!(
        log,
        want,
        "{transport:?}, {count} elements of {width:?}, signals {signals:?}"
    );
    Ok(())
}

fn outs_posted(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let program = outs_program(Width::Word, PORT, ALL);
        let mut scene = scene(transport, &program, |end| posted(pio(PORT, 2, end)))?;
        scene
            .machine
            .ram()
            .write(ram::DATA, &elements(Width::Word, 1..=ALL))?;
        // No device answers, and none has to.
        expect_halt(&scene.vcpu.run()?)?;
        for n in 1..=ALL {
            let want = posted_command(Width::Word, 0, element(n));
            check_eq!(scene.device.command()?, want, "command {n}, {transport:?}");
        }
    }
    Ok(())
}

/// Answers `ALIVE` commands, reads one more and dies.
fn short_life(mut device: DeviceEnd) -> Result<()> {
    for n in 1..=ALIVE {
        device.command()?;
        device.reply(element(n))?;
    }
    device.command().map(drop)
}

/// Both may be cut short at any element.
fn for_each_death(check: fn(Transport, Width) -> Result<()>) -> Result<()> {
    for transport in TRANSPORTS {
        for width in [Width::Byte, Width::Word] {
            check(transport, width).with_context(|| format!("{transport:?} {width:?}"))?;
        }
    }
    Ok(())
}

fn ins_from_a_dying_device(_: &Context) -> Result<()> {
    for_each_death(|transport, width| {
        let program = ins_program(width, PORT, ALL);
        let mut test = scene(transport, &program, |end| pio(PORT, 8, end))?;
        let size = width.bytes();
        let (exit, ()) = while_running(&mut test.vcpu, |_| short_life(test.device))?;
        Expected {
            access: Access::PortIn {
                port: PORT,
                size,
                count: ALL as usize,
            },
            offset: 0,
            size: size as u32,
            data: 0,
            done: ALIVE as u32 * size as u32,
            error: libc::EPIPE,
            sent: true,
        }
        .check(&test.region, &exit)?;
        test.vcpu
            .supply_from(ALIVE as usize * size, &elements(width, ALIVE + 1..=ALL));
        expect_halt(&test.vcpu.run()?)?;
        let want = elements(width, 1..=ALL);
        check_eq!(test.machine.ram().read(ram::DATA, want.len())?, want, "RAM");
        Ok(())
    })
}

fn outs_to_a_dying_device(_: &Context) -> Result<()> {
    for_each_death(|transport, width| {
        let program = outs_program(width, PORT, ALL);
        let mut test = scene(transport, &program, |end| pio(PORT, 8, end))?;
        test.machine
            .ram()
            .write(ram::DATA, &elements(width, 1..=ALL))?;
        let (first, ()) = while_running(&mut test.vcpu, |_| short_life(test.device))?;
        let rest = finish_outs(&mut test.vcpu, &test.region, width, first)?;
        let want = elements(width, ALIVE + 1..=ALL);
        check_eq!(rest, want, "what was left to the VMM");
        Ok(())
    })
}

/// What a VMM does: writes the bytes that each failure leaves to it, until the guest halts. KVM
/// is free to cut a string output into as many accesses as it likes.
fn finish_outs(
    vcpu: &mut rawguest::Vcpu,
    region: &KvmIoregion,
    width: Width,
    mut exit: Exit,
) -> Result<Vec<u8>> {
    let size = width.bytes();
    let mut rest = Vec::new();
    while exit != Exit::Halt {
        let Exit::Failure(failure) = &exit else {
            anyhow::bail!("got {exit:x?}, want a failure");
        };
        let Access::PortOut { data, .. } = &failure.access else {
            anyhow::bail!("got {failure:x?}, want an output");
        };
        let done = failure.details.done as usize;
        ensure!(
            done % size == 0 && done < data.len(),
            "{done} of {} bytes done",
            data.len()
        );
        Expected {
            access: Access::PortOut {
                port: PORT,
                size,
                data: data.clone(),
            },
            offset: 0,
            size: size as u32,
            data: width.mask(element(ALIVE + 1 + (rest.len() / size) as u64)),
            done: done as u32,
            error: libc::EPIPE,
            sent: rest.is_empty(),
        }
        .check(region, &exit)?;
        rest.extend(&data[done..]);
        exit = vcpu.run()?;
    }
    Ok(rest)
}

/// Strings at ports that belong to nobody, and at a port that is only half inside.
fn beside_a_region(_: &Context) -> Result<()> {
    for port in [PORT - 1, PORT + 7, PORT + 8] {
        let program = ins_program(Width::Word, port, 4);
        let mut scene = scene(Transport::Ring, &program, |end| pio(PORT, 8, end))?;
        let want = Access::PortIn {
            port,
            size: 2,
            count: 4,
        };
        let exit = scene.vcpu.run()?;
        check_eq!(exit, Exit::Access(want), "exit at port {port:#x}");
        scene.vcpu.supply(&elements(Width::Word, 1..=4));
        expect_halt(&scene.vcpu.run()?)?;
        let has_command = scene.device.has_command()?;
        check_eq!(has_command, false, "the device got a command");
    }
    Ok(())
}

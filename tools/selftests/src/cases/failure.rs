// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Devices that die, hang up or lie: an exit that says what happened, and a guest that goes on.

use anyhow::{ensure, Context as _, Result};
use ioregion_wire::frame::{Reply, FRAME_SIZE};
use ioregion_wire::uapi::KvmIoregion;
use libc::EPIPE;
use rawguest::{Access, Asm, Machine, Mem, Reg, Vcpu, Width};

use crate::channel::{self, KvmEnd, Transport, TRANSPORTS};
use crate::check::check_eq;
use crate::expect::Expected;
use crate::guest::{expect_halt, read_command, read_once, sum_of_reads, write_once};
use crate::region::{deassign, mmio, page, pio, posted, set, MMIO, PORT};
use crate::scene::{scene, Scene};
use crate::stage::while_running;
use crate::suite::{tests, Context};

tests!(
    "failure",
    Ioregion,
    [
        closed_before_a_read,
        closed_before_a_write,
        closed_before_a_posted_write,
        closed_before_a_doorbell,
        closed_before_a_port_access,
        closed_after_the_command,
        closed_after_a_write,
        closed_after_half_a_reply,
        failed_channel_fails_every_region,
        fresh_files_heal,
        piece_of_an_odd_fragment,
        second_half_over_a_page,
    ]
);

pub(super) const OFFSET: u64 = 8;
pub(super) const VALUE: u64 = 0x0102_0304;

/// A failed read of 4 bytes at `OFFSET`.
pub(super) const READ: Expected = Expected {
    access: Access::MmioRead {
        address: MMIO + OFFSET,
        len: 4,
    },
    offset: OFFSET,
    size: 4,
    data: 0,
    done: 0,
    error: EPIPE,
    sent: false,
};

/// A failed write of `VALUE`, 4 bytes at `OFFSET`.
fn write() -> Expected {
    let data = (VALUE as u32).to_le_bytes().to_vec();
    let access = Access::MmioWrite {
        address: MMIO + OFFSET,
        data,
    };
    Expected {
        access,
        data: VALUE,
        ..READ
    }
}

/// A region, and a vCPU that reads 4 bytes at `OFFSET` twice.
pub(super) fn reader(transport: Transport) -> Result<Scene> {
    scene(
        transport,
        &sum_of_reads(Width::Long, MMIO + OFFSET, 2),
        page,
    )
}

/// The VMM supplies the value of a failed read, and the guest sees it; the second read then
/// fails at once with the same error, and the guest comes to its end.
pub(super) fn goes_on(vcpu: &mut Vcpu, region: &KvmIoregion, error: i32) -> Result<()> {
    vcpu.supply(&(VALUE as u32).to_le_bytes());
    Expected { error, ..READ }
        .check(region, &vcpu.run()?)
        .context("second read")?;
    vcpu.supply(&1u32.to_le_bytes());
    expect_halt(&vcpu.run()?)?;
    check_eq!(
        vcpu.reg(Reg::Si)?,
        VALUE + 1,
        "sum of what the VMM supplied"
    );
    Ok(())
}

fn closed_before_a_read(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let mut test = reader(transport)?;
        drop(test.device);
        READ.check(&test.region, &test.vcpu.run()?)
            .with_context(|| format!("{transport:?}"))?;
        goes_on(&mut test.vcpu, &test.region, EPIPE)?;
    }
    Ok(())
}

/// A guest that writes `VALUE` to a device that is gone.
fn writer_alone(region: fn(&KvmEnd) -> KvmIoregion, want: &Expected) -> Result<()> {
    for transport in TRANSPORTS {
        let program = write_once(Width::Long, MMIO + OFFSET, VALUE);
        let mut scene = scene(transport, &program, region)?;
        drop(scene.device);
        want.check(&scene.region, &scene.vcpu.run()?)
            .with_context(|| format!("{transport:?}"))?;
        expect_halt(&scene.vcpu.run()?)?;
    }
    Ok(())
}

fn closed_before_a_write(_: &Context) -> Result<()> {
    writer_alone(page, &write())
}

fn closed_before_a_posted_write(_: &Context) -> Result<()> {
    writer_alone(|end| posted(page(end)), &write())
}

fn closed_before_a_doorbell(_: &Context) -> Result<()> {
    let want = Expected {
        offset: 0,
        size: 0,
        data: 0,
        ..write()
    };
    writer_alone(|end| posted(mmio(MMIO + OFFSET, 0, end)), &want)
}

fn closed_before_a_port_access(_: &Context) -> Result<()> {
    let mut program = Asm::long();
    program.mov(Reg::Dx, PORT.into()).mov(Reg::Ax, VALUE);
    program.port_out(Width::Word).port_in(Width::Long).halt();
    for transport in TRANSPORTS {
        let mut test = scene(transport, &program, |end| pio(PORT - 2, 8, end))?;
        drop(test.device);
        let data = (VALUE as u16).to_le_bytes().to_vec();
        let out = Access::PortOut {
            port: PORT,
            size: 2,
            data,
        };
        let data = Width::Word.mask(VALUE);
        Expected {
            access: out,
            offset: 2,
            size: 2,
            data,
            ..READ
        }
        .check(&test.region, &test.vcpu.run()?)?;
        let access = Access::PortIn {
            port: PORT,
            size: 4,
            count: 1,
        };
        Expected {
            access,
            offset: 2,
            ..READ
        }
        .check(&test.region, &test.vcpu.run()?)?;
        test.vcpu.supply(&0x600d_600du32.to_le_bytes());
        expect_halt(&test.vcpu.run()?)?;
        check_eq!(
            test.vcpu.reg(Reg::Ax)?,
            0x600d_600d,
            "value supplied, {transport:?}"
        );
    }
    Ok(())
}

fn closed_after_the_command(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let mut test = reader(transport)?;
        let (exit, ()) = while_running(&mut test.vcpu, |running| {
            test.device.command()?;
            running.wait_until_asleep()?;
            drop(test.device);
            Ok(())
        })?;
        Expected { sent: true, ..READ }
            .check(&test.region, &exit)
            .with_context(|| format!("{transport:?}"))?;
        goes_on(&mut test.vcpu, &test.region, EPIPE)?;
    }
    Ok(())
}

fn closed_after_a_write(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let program = write_once(Width::Long, MMIO + OFFSET, VALUE);
        let mut test = scene(transport, &program, page)?;
        let (exit, ()) = while_running(&mut test.vcpu, |_| {
            test.device.command()?;
            drop(test.device);
            Ok(())
        })?;
        Expected {
            sent: true,
            ..write()
        }
        .check(&test.region, &exit)
        .with_context(|| format!("{transport:?}"))?;
        expect_halt(&test.vcpu.run()?)?;
    }
    Ok(())
}

fn closed_after_half_a_reply(_: &Context) -> Result<()> {
    for transport in [Transport::Stream, Transport::Pipes] {
        let mut test = reader(transport)?;
        let (exit, ()) = while_running(&mut test.vcpu, |_| {
            test.device.command()?;
            test.device
                .send(&Reply { data: VALUE }.encode()[..FRAME_SIZE / 2])?;
            drop(test.device);
            Ok(())
        })?;
        Expected { sent: true, ..READ }
            .check(&test.region, &exit)
            .with_context(|| format!("{transport:?}"))?;
        goes_on(&mut test.vcpu, &test.region, EPIPE)?;
    }
    Ok(())
}

fn failed_channel_fails_every_region(_: &Context) -> Result<()> {
    let mut program = Asm::long();
    program
        .mov(Reg::Bx, MMIO + OFFSET)
        .load(Width::Long, Reg::Ax, Mem::At(Reg::Bx));
    program
        .mov(Reg::Bx, MMIO + 0x1000)
        .load(Width::Byte, Reg::Ax, Mem::At(Reg::Bx))
        .halt();
    let machine = Machine::new()?;
    let (end, mut device) = channel::open(Transport::Stream)?;
    let region = mmio(MMIO, 0x1000, &end);
    let other = KvmIoregion {
        user_data: 9,
        ..mmio(MMIO + 0x1000, 0x10, &end)
    };
    set(machine.fd(), &region)?;
    set(machine.fd(), &other)?;
    let mut vcpu = machine.add_vcpu(&program)?;
    let (exit, ()) = while_running(&mut vcpu, |_| {
        device.command()?;
        drop(device);
        Ok(())
    })?;
    Expected { sent: true, ..READ }.check(&region, &exit)?;
    let access = Access::MmioRead {
        address: MMIO + 0x1000,
        len: 1,
    };
    Expected {
        access,
        offset: 0,
        size: 1,
        ..READ
    }
    .check(&other, &vcpu.run()?)?;
    expect_halt(&vcpu.run()?)
}

fn fresh_files_heal(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let mut test = reader(transport)?;
        drop(test.device);
        READ.check(&test.region, &test.vcpu.run()?)?;
        test.vcpu.supply(&(VALUE as u32).to_le_bytes());
        deassign(test.machine.fd(), &test.region)
            .context("deassign a region of a failed channel")?;
        Scene::anew(test.machine, &test.region, test.vcpu, transport)?
            .expect_healed(VALUE)
            .with_context(|| format!("{transport:?}"))?;
    }
    Ok(())
}

/// 1 byte on the first page; on the second 7 as 4, 2 and 1. The device dies with the 2.
fn piece_of_an_odd_fragment(_: &Context) -> Result<()> {
    let program = read_once(Width::Quad, MMIO + 0xfff);
    let mut test = scene(Transport::Seqpacket, &program, |end| {
        mmio(MMIO, 0x2000, end)
    })?;
    let (exit, ()) = while_running(&mut test.vcpu, |_| {
        check_eq!(
            test.device.command()?,
            read_command(Width::Byte, 0xfff),
            "first page"
        );
        test.device.reply(0x11)?;
        check_eq!(
            test.device.command()?,
            read_command(Width::Long, 0x1000),
            "second page"
        );
        test.device.reply(0x5544_3322)?;
        check_eq!(
            test.device.command()?,
            read_command(Width::Word, 0x1004),
            "second page"
        );
        drop(test.device);
        Ok(())
    })?;
    Expected {
        access: Access::MmioRead {
            address: MMIO + 0x1000,
            len: 7,
        },
        offset: 0x1004,
        size: 2,
        done: 4,
        sent: true,
        ..READ
    }
    .check(&test.region, &exit)?;
    test.vcpu.supply_from(4, &[0x66, 0x77, 0x88]);
    expect_halt(&test.vcpu.run()?)?;
    check_eq!(test.vcpu.reg(Reg::Ax)?, 0x8877_6655_4433_2211, "value");
    Ok(())
}

/// The first half is complete, and stays so.
fn second_half_over_a_page(_: &Context) -> Result<()> {
    let program = write_once(Width::Quad, MMIO + 0xffc, 0x8877_6655_4433_2211);
    let mut test = scene(Transport::Stream, &program, |end| mmio(MMIO, 0x2000, end))?;
    let (exit, ()) = while_running(&mut test.vcpu, |_| {
        let first = test.device.command()?;
        ensure!(
            first.offset == 0xffc,
            "first half at offset {:#x}",
            first.offset
        );
        test.device.reply(0)?;
        let second = test.device.command()?;
        ensure!(
            second.offset == 0x1000,
            "second half at offset {:#x}",
            second.offset
        );
        drop(test.device);
        Ok(())
    })?;
    let data = 0x8877_6655u32.to_le_bytes().to_vec();
    let access = Access::MmioWrite {
        address: MMIO + 0x1000,
        data,
    };
    Expected {
        access,
        offset: 0x1000,
        data: 0x8877_6655,
        sent: true,
        ..READ
    }
    .check(&test.region, &exit)?;
    expect_halt(&test.vcpu.run()?)
}

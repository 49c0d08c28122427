// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! One access over a page boundary, in the four ways in which its halves can belong to regions.

use anyhow::Result;
use ioregion_wire::frame::Command;
use rawguest::{Asm, Exit, Machine, Reg, Vcpu, Width};

use super::split::{byte_at, memory, reads_of, region, writes_of, PAGE, VALUE};
use crate::channel::{self, Transport};
use crate::check::check_eq;
use crate::guest::{expect_halt, mmio_read, mmio_write, read_once, write_once};
use crate::region::{set, MMIO};
use crate::stage::{play, Signals, SIGNALS};
use crate::suite::{tests, Context};

tests!(
    "crossing",
    Ioregion,
    [
        same_region,
        two_regions,
        region_then_nothing,
        nothing_then_region
    ]
);

/// What lies on the two pages: the user_data of a region, or nothing.
type Pages = [Option<u64>; 2];

/// 8 bytes over the boundary, 4 on each page, read and then written, with and without signals.
fn check_crossing(pages: Pages) -> Result<()> {
    for signals in SIGNALS {
        let read = read_once(Width::Quad, MMIO + PAGE - 4);
        let (log, vcpu) = run_crossing(pages, &read, signals, |half| match half {
            0 => mmio_read(MMIO + PAGE - 4, 4),
            _ => mmio_read(MMIO + PAGE, 4),
        })?;
        let offsets = offsets(pages);
        let mut commands = Vec::new();
        let mut bytes = Vec::new();
        for (half, offset) in offsets.into_iter().enumerate() {
            match pages[half] {
                Some(user_data) => {
                    commands.extend(reads_of(user_data, offset, 4)?);
                    bytes.extend((offset..offset + 4).map(|at| byte_at(user_data, at)));
                }
                None => bytes.extend(&VALUE.to_le_bytes()[4 * half..4 * half + 4]),
            }
        }
        check_eq!(log, commands, "reads, signals {signals:?}");
        check_eq!(
            vcpu.reg(Reg::Ax)?.to_le_bytes()[..],
            bytes[..],
            "value, signals {signals:?}"
        );

        let halves = [VALUE as u32, (VALUE >> 32) as u32].map(u32::to_le_bytes);
        let write = write_once(Width::Quad, MMIO + PAGE - 4, VALUE);
        let (log, _) = run_crossing(pages, &write, signals, |half| match half {
            0 => mmio_write(MMIO + PAGE - 4, &halves[0]),
            _ => mmio_write(MMIO + PAGE, &halves[1]),
        })?;
        let mut commands = Vec::new();
        for (half, offset) in offsets.into_iter().enumerate() {
            if let Some(user_data) = pages[half] {
                commands.extend(writes_of(user_data, offset, &halves[half])?);
            }
        }
        check_eq!(log, commands, "writes, signals {signals:?}");
    }
    Ok(())
}

/// Offsets of the two halves in their regions. One region covers both pages when both have the
/// same user_data.
fn offsets(pages: Pages) -> [u64; 2] {
    [PAGE - 4, if pages[0] == pages[1] { PAGE } else { 0 }]
}

/// Runs the program over the two pages; each half without a region must be the plain exit that
/// `plain` names, and is answered with its half of `VALUE`.
fn run_crossing(
    pages: Pages,
    program: &Asm,
    signals: Signals,
    plain: impl Fn(usize) -> Exit,
) -> Result<(Vec<Command>, Vcpu)> {
    let machine = Machine::new()?;
    let (end, mut device) = channel::open(Transport::Seqpacket)?;
    match pages {
        [Some(one), Some(other)] if one == other => {
            set(machine.fd(), &region(MMIO, 2 * PAGE, one, &end))?;
        }
        _ => {
            for (page, user_data) in (0..).zip(pages) {
                if let Some(user_data) = user_data {
                    set(
                        machine.fd(),
                        &region(MMIO + page * PAGE, PAGE, user_data, &end),
                    )?;
                }
            }
        }
    }
    let mut vcpu = machine.add_vcpu(program)?;
    let ((), log) = play(&mut vcpu, &mut device, signals, memory, |driver| {
        for (half, page) in pages.iter().enumerate() {
            if page.is_none() {
                check_eq!(driver.run()?, plain(half), "exit of half {half}");
                driver
                    .vcpu
                    .supply(&VALUE.to_le_bytes()[4 * half..4 * half + 4]);
            }
        }
        expect_halt(&driver.run()?)
    })?;
    Ok((log, vcpu))
}

fn same_region(_: &Context) -> Result<()> {
    check_crossing([Some(1), Some(1)])
}

fn two_regions(_: &Context) -> Result<()> {
    check_crossing([Some(1), Some(2)])
}

fn region_then_nothing(_: &Context) -> Result<()> {
    check_crossing([Some(1), None])
}

fn nothing_then_region(_: &Context) -> Result<()> {
    check_crossing([None, Some(2)])
}

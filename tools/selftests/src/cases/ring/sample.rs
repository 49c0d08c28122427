// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The device in C, which was written from the documentation alone.

use std::ffi::c_int;
use std::os::fd::AsRawFd;
use std::thread;

use anyhow::Result;
use rawguest::{Asm, Mem, Reg, Width};

use super::{fixture, Fixture};
use crate::check::check_eq;
use crate::guest::expect_halt;
use crate::region::{deassign, mmio, posted, MMIO};
use crate::ring::USUAL;
use crate::suite::{tests, Context};

tests!("ring_sample", Ioregion, [adds, adds_what_is_posted]);

const WRITES: u32 = 200;

extern "C" {
    /// Serves a channel until its end; not 0 if it is none.
    fn adder(channel: c_int) -> c_int;
}

fn adds(_: &Context) -> Result<()> {
    let program = writes_and_a_read();
    serve(fixture(&USUAL, &program, |end| mmio(MMIO, 0x1000, end))?)
}

/// More than the ring has room for.
fn adds_what_is_posted(_: &Context) -> Result<()> {
    let program = writes_and_a_read();
    serve(fixture(&USUAL, &program, |end| {
        posted(mmio(MMIO, 0x1000, end))
    })?)
}

/// Writes 1, 2, 3 and so on; the read is in Ax.
fn writes_and_a_read() -> Asm {
    let mut program = Asm::long();
    program
        .mov(Reg::Bx, MMIO)
        .repeat(WRITES, |body| {
            body.add_imm(Reg::Ax, 1)
                .store(Width::Long, Mem::At(Reg::Bx), Reg::Ax);
        })
        .zero(Reg::Ax)
        .load(Width::Long, Reg::Ax, Mem::At(Reg::Bx))
        .halt();
    program
}

fn serve(scene: Fixture) -> Result<()> {
    let Fixture {
        machine,
        mut vcpu,
        device,
        region,
    } = scene;
    let channel = device.into_fd()?;
    thread::scope(|scope| {
        // SAFETY: The descriptor is open until the thread has ended, and it maps the channel where
        // nothing else is.
        let device = scope.spawn(|| unsafe { adder(channel.as_raw_fd()) });
        expect_halt(&vcpu.run()?)?;
        deassign(machine.fd(), &region)?;
        check_eq!(device.join().ok(), Some(0), "what the device returns");
        let sum = u64::from(WRITES * (WRITES + 1) / 2);
        check_eq!(vcpu.reg(Reg::Ax)?, sum, "sum");
        Ok(())
    })
}

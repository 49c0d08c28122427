// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Programs and expectations that many tests share.

use anyhow::Result;
use ioregion_wire::frame::{Command, Operation};
use rawguest::{Access, Asm, Exit, Mem, Reg, Width};

use crate::check::check_eq;
use crate::region::USER_DATA;

/// The widths that one instruction of each kind can have.
pub(crate) const MMIO_WIDTHS: [Width; 4] = [Width::Byte, Width::Word, Width::Long, Width::Quad];
pub(crate) const PORT_WIDTHS: [Width; 3] = [Width::Byte, Width::Word, Width::Long];

/// `count` loads from `address`; the sum of the values is in Si.
pub(crate) fn sum_of_reads(width: Width, address: u64, count: u32) -> Asm {
    let mut program = Asm::long();
    program
        .mov(Reg::Bx, address)
        .repeat(count, |body| {
            body.zero(Reg::Ax)
                .load(width, Reg::Ax, Mem::At(Reg::Bx))
                .add(Reg::Si, Reg::Ax);
        })
        .halt();
    program
}

/// One load from `address` into Ax.
pub(crate) fn read_once(width: Width, address: u64) -> Asm {
    let mut program = Asm::long();
    program
        .mov(Reg::Bx, address)
        .load(width, Reg::Ax, Mem::At(Reg::Bx))
        .halt();
    program
}

/// One store of `value` to `address`.
pub(crate) fn write_once(width: Width, address: u64, value: u64) -> Asm {
    let mut program = Asm::long();
    program
        .mov(Reg::Bx, address)
        .mov(Reg::Ax, value)
        .store(width, Mem::At(Reg::Bx), Reg::Ax)
        .halt();
    program
}

/// `count` stores to `address`: 1, 2, 3 and so on.
pub(crate) fn counting_writes(width: Width, address: u64, count: u32) -> Asm {
    let mut program = Asm::long();
    program
        .mov(Reg::Bx, address)
        .repeat(count, |body| {
            body.add_imm(Reg::Ax, 1)
                .store(width, Mem::At(Reg::Bx), Reg::Ax);
        })
        .halt();
    program
}

/// The command of a read.
pub(crate) fn read_command(width: Width, offset: u64) -> Command {
    Command {
        operation: Operation::Read,
        width,
        expects_reply: true,
        user_data: USER_DATA,
        offset,
    }
}

/// The command of a write that wants a reply.
pub(crate) fn write_command(width: Width, offset: u64, data: u64) -> Command {
    Command {
        operation: Operation::Write(width.mask(data)),
        width,
        expects_reply: true,
        user_data: USER_DATA,
        offset,
    }
}

/// The command of a posted write.
pub(crate) fn posted_command(width: Width, offset: u64, data: u64) -> Command {
    Command {
        expects_reply: false,
        ..write_command(width, offset, data)
    }
}

/// The plain exit of a load.
pub(crate) fn mmio_read(address: u64, len: usize) -> Exit {
    Exit::Access(Access::MmioRead { address, len })
}

/// The plain exit of a store.
pub(crate) fn mmio_write(address: u64, data: &[u8]) -> Exit {
    Exit::Access(Access::MmioWrite {
        address,
        data: data.to_vec(),
    })
}

/// Fails the test unless the guest has come to its end.
pub(crate) fn expect_halt(exit: &Exit) -> Result<()> {
    check_eq!(*exit, Exit::Halt, "exit at the end of the program");
    Ok(())
}

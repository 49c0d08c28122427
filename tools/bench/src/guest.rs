// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The measured guest: batches of one access over and over, a marker after each.

use rawguest::{Asm, Mem, Reg, Width};

use crate::sample::{BATCH, BATCHES};

/// A byte written to this port ends a batch: the VMM then reads the clock.
pub(crate) const MARKER: u16 = 0xf4;

/// The access that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// A load of 4 bytes.
    Read,
    /// A store of 4 bytes.
    Write,
    /// `in` of 1 byte.
    PortRead,
}

/// What a batch is made of: turns of a loop, each of which does this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// One access.
    Access,
    /// Nothing: the control, whose cost is the loop's and the marker's.
    EmptyLoop,
    /// There is no loop either.
    Nothing,
}

/// The program. With `sync`, each batch ends with a read of the same place, so that a device
/// that answers in order has handled the whole batch by then; its value stays in Ax.
///
/// Real mode, where the emulator needs no page table walk to fetch an instruction.
pub(crate) fn program(operation: Operation, place: u32, body: Body, sync: bool) -> Asm {
    let mut asm = Asm::real(if operation == Operation::PortRead {
        0
    } else {
        place
    });
    mark(&mut asm, place);
    for _ in 0..=BATCHES {
        match body {
            Body::Access => asm.repeat(BATCH, |turn| access(turn, operation)),
            Body::EmptyLoop => asm.repeat(BATCH, |_| ()),
            Body::Nothing => &mut asm,
        };
        if sync {
            access(&mut asm, operation.sync());
        }
        mark(&mut asm, place);
    }
    asm
}

/// The marker's port shares Dx with the port that is read.
fn mark(asm: &mut Asm, place: u32) {
    asm.mov(Reg::Dx, MARKER.into())
        .port_out(Width::Byte)
        .mov(Reg::Dx, place.into());
}

fn access(asm: &mut Asm, operation: Operation) {
    match operation {
        Operation::Read => asm.load(Width::Long, Reg::Ax, Mem::At(Reg::Bx)),
        Operation::Write => asm.store(Width::Long, Mem::At(Reg::Bx), Reg::Ax),
        Operation::PortRead => asm.port_in(Width::Byte),
    };
}

impl Operation {
    /// The read that waits for everything before it.
    fn sync(self) -> Self {
        match self {
            Self::Read | Self::Write => Self::Read,
            Self::PortRead => Self::PortRead,
        }
    }
}

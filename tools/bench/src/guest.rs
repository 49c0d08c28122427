// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The measured guest: batches of one access over and over, a marker after each batch.

use ioregion_ring::layout::{Layout, CONSUMED_AT};
use rawguest::{Asm, Mem, Reg, Width};

use crate::sample::{BATCH, BATCHES};

/// A byte written to this port ends a batch: the VMM then reads the clock.
pub(crate) const MARKER: u16 = 0xf4;
/// A byte written to this port lets the device process run until it sleeps again.
pub(crate) const PAUSE: u16 = 0xf5;

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

/// How the accesses follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// At once.
    Steady,
    /// With a pause after so many, a divisor of [`BATCH`]: the first of them finds the device
    /// asleep.
    Bursts(u32),
    /// Each after the guest has stored what a polling device would by then have stored in its
    /// area of the channel, which the guest sees at [`DEVICE_AREA`].
    Answered,
}

/// Where the guest sees the device's area, from the place of the access on.
pub(crate) const DEVICE_AREA: u16 = 0x2000;

/// What a batch is made of: turns of a loop, each of which does this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// One access, or one burst of them.
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
pub(crate) fn program(operation: Operation, place: u32, pace: Pace, body: Body, sync: bool) -> Asm {
    let (window, port) = match (operation, pace) {
        (Operation::PortRead, _) => (0, place),
        (_, Pace::Bursts(_)) => (place, PAUSE.into()),
        (_, Pace::Steady | Pace::Answered) => (place, 0),
    };
    let mut asm = Asm::real(window);
    if pace == Pace::Answered {
        asm.mov(Reg::Di, u64::from(DEVICE_AREA) + CONSUMED_AT as u64)
            .mov(
                Reg::Si,
                u64::from(DEVICE_AREA) + Layout::completion(0) as u64,
            );
    }
    mark(&mut asm, port);
    for _ in 0..=BATCHES {
        if body != Body::Nothing {
            turns(&mut asm, operation, pace, body);
        }
        if sync {
            access(&mut asm, operation.sync());
        }
        mark(&mut asm, port);
    }
    asm
}

fn turns(asm: &mut Asm, operation: Operation, pace: Pace, body: Body) {
    let burst = match pace {
        Pace::Steady | Pace::Answered => 1,
        Pace::Bursts(length) => length,
    };
    asm.repeat(BATCH / burst, |turn| {
        if pace == Pace::Answered {
            answer(turn);
        }
        if body == Body::Access {
            (0..burst).for_each(|_| access(turn, operation));
        }
        if matches!(pace, Pace::Bursts(_)) {
            turn.port_out(Width::Byte);
        }
    });
}

/// What a polling device stores: it has consumed the accesses so far, and the answer to the next
/// is there. The value of a read is 0.
fn answer(asm: &mut Asm) {
    asm.store(Width::Long, Mem::At(Reg::Di), Reg::Bp)
        .add_imm(Reg::Bp, 1)
        .store(Width::Long, Mem::At(Reg::Si), Reg::Bp);
}

/// The marker's port shares Dx with the port of the loop.
fn mark(asm: &mut Asm, port: u32) {
    asm.mov(Reg::Dx, MARKER.into())
        .port_out(Width::Byte)
        .mov(Reg::Dx, port.into());
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

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Guests that make given accesses to one region, on either bus, and keep what they read.

use anyhow::Result;
use ioregion_wire::uapi::KvmIoregion;
use rawguest::{ram, Asm, Machine, Mem, Reg, Width};

use crate::channel::KvmEnd;
use crate::guest::{MMIO_WIDTHS, PORT_WIDTHS};
use crate::region::{mmio, pio, MMIO, PORT};

/// Where a region is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bus {
    /// Guest physical memory, from [`MMIO`] on.
    Mmio,
    /// Ports, from [`PORT`] on.
    Pio,
}

/// Both.
pub(crate) const BUSES: [Bus; 2] = [Bus::Mmio, Bus::Pio];

impl Bus {
    /// The widths of its accesses.
    pub(crate) fn widths(self) -> &'static [Width] {
        match self {
            Self::Mmio => &MMIO_WIDTHS,
            Self::Pio => &PORT_WIDTHS,
        }
    }

    /// A region of so many bytes.
    pub(crate) fn region(self, size: u64, end: &KvmEnd) -> KvmIoregion {
        match self {
            Self::Mmio => mmio(MMIO, size, end),
            Self::Pio => pio(PORT, size, end),
        }
    }
}

/// A program of accesses to the region.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    bus: Bus,
    asm: Asm,
    reads: u32,
}

impl Script {
    pub(crate) fn new(bus: Bus) -> Self {
        let (asm, reads) = (Asm::long(), 0);
        Self { bus, asm, reads }
    }

    /// Reads; the n-th read's value is the n-th of [`values`].
    pub(crate) fn read(mut self, width: Width, offset: u32) -> Self {
        let slot = Mem::Ram(ram::DATA as u32 + 8 * self.reads);
        self.reads += 1;
        self.point_to(offset).zero(Reg::Ax);
        match self.bus {
            Bus::Mmio => self.asm.load(width, Reg::Ax, Mem::At(Reg::Bx)),
            Bus::Pio => self.asm.port_in(width),
        };
        self.asm.store(Width::Quad, slot, Reg::Ax);
        self
    }

    /// Writes.
    pub(crate) fn write(mut self, width: Width, offset: u32, value: u64) -> Self {
        self.point_to(offset).mov(Reg::Ax, value);
        match self.bus {
            Bus::Mmio => self.asm.store(width, Mem::At(Reg::Bx), Reg::Ax),
            Bus::Pio => self.asm.port_out(width),
        };
        self
    }

    /// The program.
    pub(crate) fn end(mut self) -> Asm {
        self.asm.halt();
        self.asm
    }

    fn point_to(&mut self, offset: u32) -> &mut Asm {
        match self.bus {
            Bus::Mmio => self.asm.mov(Reg::Bx, MMIO + u64::from(offset)),
            Bus::Pio => self.asm.mov(Reg::Dx, u64::from(PORT) + u64::from(offset)),
        }
    }
}

/// The values of the first `count` reads of a script.
pub(crate) fn values(machine: &Machine, count: u64) -> Result<Vec<u64>> {
    let at = |n| Ok(machine.ram().load(ram::DATA + 8 * n)?);
    (0..count).map(at).collect()
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Guests of a few instructions, without an operating system, for tests and measurements.
//!
//! A guest is a [`Machine`] (RAM at address 0, see [`ram`] for its layout), and for each vCPU a
//! program that an [`Asm`] puts together. The caller runs the [`Vcpu`] and gets every
//! [`Exit`] as a value:
//!
//! ```no_run
//! use rawguest::{Access, Asm, Exit, Machine, Mem, Reg, Width};
//!
//! # fn main() -> rawguest::Result<()> {
//! let mut program = Asm::long();
//! program
//!     .mov(Reg::Bx, 0xd000_0000)
//!     .repeat(10, |body| {
//!         body.zero(Reg::Ax).load(Width::Long, Reg::Ax, Mem::At(Reg::Bx)).add(Reg::Si, Reg::Ax);
//!     })
//!     .halt();
//!
//! let machine = Machine::new()?;
//! let mut vcpu = machine.add_vcpu(&program)?;
//! loop {
//!     match vcpu.run()? {
//!         Exit::Access(Access::MmioRead { .. }) => vcpu.supply(&7u32.to_le_bytes()),
//!         Exit::Halt => break,
//!         other => panic!("unexpected exit {other:?}"),
//!     }
//! }
//! assert_eq!(vcpu.reg(Reg::Si)?, 70);
//! # Ok(())
//! # }
//! ```
//!
//! Everything not in RAM is MMIO or a port: it goes to whatever the caller has put on the VM's
//! buses through [`Machine::fd`], else it comes back as an exit. There are no exception handlers: a
//! fault ends the guest with [`Exit::Shutdown`]. [`Machine::add_handler`] adds handlers of
//! interrupts.
//!
//! A vCPU that blocks in `KVM_RUN` is brought back by a [`Kicker`] or a [`Storm`] of signals;
//! [`Exit::Interrupted`] then.

mod asm;
mod error;
mod exit;
mod machine;
mod memory;
pub mod ram;
mod registers;
mod signals;
mod vcpu;

pub use asm::{Asm, Mem, Mode, Reg};
pub use error::{Error, Result};
pub use exit::{Access, Exit, Failure};
pub use ioregion_wire::frame::Width;
pub use machine::Machine;
pub use memory::Memory;
pub use signals::{Kicker, Storm};
pub use vcpu::Vcpu;

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `KVM_EXIT_IOREGIONFD_FAILURE`: an access that its device did not complete.

use std::io;

use ioregion_dispatch::pieces;
use ioregion_wire::frame::{Operation, Width};
use ioregion_wire::run::RunAccess;
use ioregion_wire::uapi::{
    KvmIoregionfdFailure, KVM_EXIT_IOREGIONFD_FAILURE, KVM_RUN_UNION_OFFSET,
};
use kvm_bindings::kvm_run;
use kvm_ioctls::VcpuFd;
use zerocopy::FromBytes;

use super::Bus;

/// Bytes of a vCPU's mapping that KVM on x86 always has: `struct kvm_run` in the first page, the
/// data of port accesses in the second.
const RUN_SIZE: usize = 2 * 4096;

/// What KVM said in its last exit, if that was `KVM_EXIT_IOREGIONFD_FAILURE`.
pub fn failure(vcpu: &mut VcpuFd) -> Option<KvmIoregionfdFailure> {
    FailedAccess::parse(run_bytes(vcpu.get_kvm_run())).map(|access| access.failure)
}

/// Completes the rest of the access that the last exit, `KVM_EXIT_IOREGIONFD_FAILURE`, says
/// failed. `access` is called for each piece, in order, with its bus, guest address (or port),
/// width, and what to do; what it answers to a read goes where the next `KVM_RUN` looks for it.
/// An answer to a write is ignored, so are bits above the width. After any other exit this does
/// nothing.
///
/// # Errors
///
/// The first error of `access`; the access is then incomplete and must not be resumed.
pub fn complete(
    vcpu: &mut VcpuFd,
    access: impl FnMut(Bus, u64, Width, Operation) -> io::Result<u64>,
) -> io::Result<()> {
    complete_in(run_bytes(vcpu.get_kvm_run()), access)
}

fn run_bytes(run: &mut kvm_run) -> &mut [u8] {
    // SAFETY: `run` comes from a `VcpuFd`, so it begins a mapping of KVM_GET_VCPU_MMAP_SIZE
    // bytes, of which there are RUN_SIZE at least. The result borrows what borrows the mapping,
    // and KVM writes to it only within KVM_RUN.
    unsafe { std::slice::from_raw_parts_mut(std::ptr::from_mut(run).cast(), RUN_SIZE) }
}

fn complete_in(
    run: &mut [u8],
    mut access: impl FnMut(Bus, u64, Width, Operation) -> io::Result<u64>,
) -> io::Result<()> {
    let Some(failed) = FailedAccess::parse(run) else {
        return Ok(());
    };
    let data = run
        .get_mut(failed.data_offset..)
        .and_then(|data| data.get_mut(..failed.len))
        .ok_or_else(|| failed.misplaced())?;
    let mut done = failed.failure.done as usize;
    while let Some(piece) = failed.piece_at(done) {
        let bytes = &mut data[done..done + piece.width.bytes()];
        let mut value = [0; 8];
        value[..bytes.len()].copy_from_slice(bytes);
        if failed.is_write {
            let operation = Operation::Write(u64::from_le_bytes(value));
            access(failed.bus, piece.address, piece.width, operation)?;
        } else {
            let read = access(failed.bus, piece.address, piece.width, Operation::Read)?;
            bytes.copy_from_slice(&read.to_le_bytes()[..piece.width.bytes()]);
        }
        done += piece.width.bytes();
    }
    Ok(())
}

/// The whole access; its first `failure.done` bytes are complete.
struct FailedAccess {
    failure: KvmIoregionfdFailure,
    bus: Bus,
    address: u64,
    is_write: bool,
    /// Bytes, of all elements of a string access.
    len: usize,
    /// Bytes of an element of a port access; they all go to the same port.
    element: usize,
    /// Of the data in the vCPU's mapping.
    data_offset: usize,
}

struct Piece {
    address: u64,
    width: Width,
}

impl FailedAccess {
    fn parse(run: &[u8]) -> Option<Self> {
        let exit_reason = run.get(8..12)?;
        if exit_reason != KVM_EXIT_IOREGIONFD_FAILURE.to_ne_bytes() {
            return None;
        }
        let (failure, _) =
            KvmIoregionfdFailure::read_from_prefix(&run[KVM_RUN_UNION_OFFSET..]).ok()?;
        let access = RunAccess::from(&failure);
        Some(Self {
            failure,
            bus: if access.is_pio { Bus::Pio } else { Bus::Mmio },
            address: access.address,
            is_write: access.is_write,
            len: usize::try_from(access.bytes()).ok()?,
            element: access.size as usize,
            data_offset: usize::try_from(access.data_offset).ok()?,
        })
    }

    /// The piece that begins after `done` bytes; `None` at the end.
    fn piece_at(&self, done: usize) -> Option<Piece> {
        let rest = self.len.checked_sub(done)?;
        match self.bus {
            Bus::Mmio => {
                let address = self.address.wrapping_add(done as u64);
                let width = pieces::first(address, rest)?;
                Some(Piece { address, width })
            }
            Bus::Pio => {
                let width = Width::from_bytes(self.element).filter(|w| w.bytes() <= rest)?;
                Some(Piece {
                    address: self.address,
                    width,
                })
            }
        }
    }

    fn misplaced(&self) -> io::Error {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "{} bytes of access data at {:#x} of kvm_run",
                self.len, self.data_offset
            ),
        )
    }
}

#[cfg(test)]
mod tests;

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The loop of a vCPU: into the guest, and what to do when it comes back.

use std::io;

use anyhow::{anyhow, Result};
use ioregion_wire::uapi::KVM_EXIT_IOREGIONFD_FAILURE;
use kvm_ioctls::{VcpuExit, VcpuFd};
use shunt::{ioregion, Operation};

use super::Shared;
use crate::{bus::AccessError, report::ExitCounters, stop::Outcome};

/// Runs `vcpu` until the machine stops.
///
/// # Errors
///
/// When KVM or a device cannot go on; with the vCPU's registers when it is KVM.
pub(super) fn run(vcpu: &mut VcpuFd, shared: &Shared, counts: &ExitCounters) -> Result<()> {
    while shared.stop.outcome().is_none() {
        match run_once(vcpu, shared, counts) {
            Ok(()) => {}
            Err(AccessError::Stopping) => break,
            Err(AccessError::Failed(error)) => return Err(error),
        }
    }
    Ok(())
}

fn run_once(vcpu: &mut VcpuFd, shared: &Shared, counts: &ExitCounters) -> Result<(), AccessError> {
    let exit = match vcpu.run() {
        Ok(exit) => exit,
        Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => {
            counts.count_interruption();
            return Ok(());
        }
        Err(error) => return Err(fatal(vcpu, &format!("KVM_RUN failed: {error}"))),
    };
    counts.count(&exit);
    match exit {
        VcpuExit::IoIn(port, data) => shared.pio.read(port.into(), data),
        VcpuExit::IoOut(port, data) => shared.pio.write(port.into(), data),
        VcpuExit::MmioRead(address, data) => shared.mmio.read(address, data),
        VcpuExit::MmioWrite(address, data) => shared.mmio.write(address, data),
        VcpuExit::Shutdown => {
            shared.stop.request(Outcome::GuestReset);
            Ok(())
        }
        VcpuExit::Intr => Ok(()),
        VcpuExit::Unsupported(KVM_EXIT_IOREGIONFD_FAILURE) => complete_failed(vcpu, shared),
        VcpuExit::InternalError => {
            let what = internal_error(vcpu);
            Err(fatal(vcpu, &what))
        }
        other => {
            let what = format!("an exit that the machine has no use for: {other:x?}");
            Err(fatal(vcpu, &what))
        }
    }
}

/// Does what KVM could not have a device process do: by the bus, where the disk's device waits
/// for the next process. The next `KVM_RUN` finishes the instruction.
fn complete_failed(vcpu: &mut VcpuFd, shared: &Shared) -> Result<(), AccessError> {
    let mut stopped = None;
    let completed = ioregion::complete(vcpu, |space, address, width, operation| {
        let bus = match space {
            ioregion::Bus::Mmio => &shared.mmio,
            ioregion::Bus::Pio => &shared.pio,
        };
        let mut data = [0; 8];
        let bytes = &mut data[..width.bytes()];
        let done = match operation {
            Operation::Read => bus.read(address, bytes),
            Operation::Write(value) => {
                bytes.copy_from_slice(&value.to_le_bytes()[..width.bytes()]);
                bus.write(address, bytes)
            }
        };
        done.map_err(|error| {
            stopped = Some(error);
            io::Error::from(io::ErrorKind::Other)
        })?;
        Ok(u64::from_le_bytes(data))
    });
    match (completed, stopped) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(error)) => Err(error),
        (Err(error), None) => Err(AccessError::Failed(error.into())),
    }
}

fn fatal(vcpu: &VcpuFd, what: &str) -> AccessError {
    AccessError::Failed(anyhow!("{what}; {}", registers(vcpu)))
}

/// `KVM_EXIT_INTERNAL_ERROR` with its numbers (`KVM_INTERNAL_ERROR_*` in linux/kvm.h).
fn internal_error(vcpu: &mut VcpuFd) -> String {
    // SAFETY: The exit reason says that this field of the union is the valid one; all its bit
    // patterns are numbers.
    let internal = unsafe { vcpu.get_kvm_run().__bindgen_anon_1.internal };
    let count = internal.data.len().min(internal.ndata as usize);
    let data = &internal.data[..count];
    format!("KVM internal error {}, data {data:x?}", internal.suberror)
}

/// The registers in words, for the report of a fatal exit.
fn registers(vcpu: &VcpuFd) -> String {
    match (vcpu.get_regs(), vcpu.get_sregs()) {
        (Ok(regs), Ok(sregs)) => format!(
            "rip {:#x} rsp {:#x} rflags {:#x} rax {:#x} rbx {:#x} rcx {:#x} rdx {:#x} \
             rsi {:#x} rdi {:#x} cr0 {:#x} cr2 {:#x} cr3 {:#x} cr4 {:#x} efer {:#x} cs {:#x}",
            regs.rip,
            regs.rsp,
            regs.rflags,
            regs.rax,
            regs.rbx,
            regs.rcx,
            regs.rdx,
            regs.rsi,
            regs.rdi,
            sregs.cr0,
            sregs.cr2,
            sregs.cr3,
            sregs.cr4,
            sregs.efer,
            sregs.cs.selector
        ),
        (Err(error), _) | (_, Err(error)) => format!("registers not readable: {error}"),
    }
}

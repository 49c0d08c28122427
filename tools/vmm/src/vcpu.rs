// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A virtual processor: its first registers, its loop, and how to get it out of `KVM_RUN`.

use std::{
    io,
    ptr::NonNull,
    sync::{
        atomic::{AtomicU8, Ordering},
        Arc,
    },
    thread::{self, JoinHandle},
};

use anyhow::{anyhow, Context, Result};
use ioregion_wire::uapi::KVM_EXIT_IOREGIONFD_FAILURE;
use kvm_bindings::{kvm_cpuid_entry2, kvm_msr_entry, kvm_regs, Msrs};
use kvm_ioctls::{VcpuExit, VcpuFd, VmFd};
use shunt::{ioregion, Operation};
use vmm_sys_util::signal::{register_signal_handler, Killable, SIGRTMIN};

use crate::{
    boot::segments,
    bus::{AccessError, Bus},
    cpuid,
    layout::ZERO_PAGE,
    report::ExitCounts,
    stop::{Outcome, Stop, StopOnPanic},
};

const MSR_IA32_MISC_ENABLE: u32 = 0x1a0;
const MISC_ENABLE_FAST_STRING: u64 = 1;
const MSR_MTRR_DEF_TYPE: u32 = 0x2ff;
const MTRR_ENABLE: u64 = 1 << 11;
const MTRR_WRITE_BACK: u64 = 6;
/// Bit 1 of RFLAGS is always set.
const RFLAGS_RESERVED: u64 = 2;

/// What all vCPUs share.
#[derive(Clone)]
pub(crate) struct Shared {
    /// Devices behind ports.
    pub(crate) pio: Arc<Bus>,
    /// Devices behind guest physical addresses.
    pub(crate) mmio: Arc<Bus>,
    /// The switch that ends the machine.
    pub(crate) stop: Arc<Stop>,
}

/// Makes the vCPU with APIC id `id`. All but number 0 wait for INIT and SIPI from it.
///
/// # Errors
///
/// When KVM refuses it or its CPUID table.
pub(crate) fn create(
    vm: &VmFd,
    supported: &[kvm_cpuid_entry2],
    id: u8,
    cpus: u8,
) -> Result<VcpuFd> {
    let vcpu = vm
        .create_vcpu(id.into())
        .with_context(|| format!("KVM refuses vCPU {id}"))?;
    vcpu.set_cpuid2(&cpuid::for_vcpu(supported, id, cpus)?)
        .with_context(|| format!("KVM refuses the CPUID table of vCPU {id}"))?;
    set_msrs(&vcpu).with_context(|| format!("vCPU {id}"))?;
    Ok(vcpu)
}

fn set_msrs(vcpu: &VcpuFd) -> Result<()> {
    let msr = |index, data| kvm_msr_entry {
        index,
        data,
        ..Default::default()
    };
    let wanted = [
        msr(MSR_IA32_MISC_ENABLE, MISC_ENABLE_FAST_STRING),
        msr(MSR_MTRR_DEF_TYPE, MTRR_ENABLE | MTRR_WRITE_BACK),
    ];
    let msrs = Msrs::from_entries(&wanted).map_err(|error| anyhow!("MSR list: {error:?}"))?;
    let set = vcpu.set_msrs(&msrs).context("KVM refuses the MSR list")?;
    anyhow::ensure!(
        set == wanted.len(),
        "KVM refuses MSR {:#x}",
        wanted[set].index
    );
    Ok(())
}

/// Puts the boot processor at the kernel's 64-bit entry.
///
/// # Errors
///
/// When KVM refuses the registers.
pub(crate) fn start_at(vcpu: &VcpuFd, entry: u64) -> Result<()> {
    let mut sregs = vcpu
        .get_sregs()
        .context("cannot get the boot processor's registers")?;
    segments::enter_long_mode(&mut sregs);
    vcpu.set_sregs(&sregs)
        .context("KVM refuses the boot processor's segments")?;
    let regs = kvm_regs {
        rip: entry,
        rsi: ZERO_PAGE,
        rflags: RFLAGS_RESERVED,
        ..Default::default()
    };
    vcpu.set_regs(&regs)
        .context("KVM refuses the boot processor's registers")
}

/// Gets a vCPU thread out of `KVM_RUN`, now or, when it is not there, the next time it enters.
///
/// The order makes it sure: `immediate_exit` is set first, then the thread gets a signal whose
/// handler does nothing. A thread inside `KVM_RUN` returns because of the signal; one that has
/// not entered yet, or took the signal before it entered, finds the flag.
pub(crate) struct Kick {
    immediate_exit: NonNull<AtomicU8>,
}

impl Kick {
    fn new(vcpu: &mut VcpuFd) -> Self {
        let flag: *mut u8 = &mut vcpu.get_kvm_run().immediate_exit;
        Self {
            immediate_exit: NonNull::new(flag.cast()).expect("it points into a structure"),
        }
    }

    fn set(&self) {
        // SAFETY: `VcpuThread` owns this and keeps the vCPU's thread, and with it the mapping of
        // `kvm_run`, until it is joined, which consumes the `VcpuThread`.
        unsafe { self.immediate_exit.as_ref() }.store(1, Ordering::SeqCst);
    }

    /// Installs the handler of the signal that [`VcpuThread::kick`] sends.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub(crate) fn install_handler() -> Result<()> {
        extern "C" fn ignore(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}
        register_signal_handler(SIGRTMIN(), ignore).context("cannot install the kick signal")
    }
}

/// A running vCPU.
pub(crate) struct VcpuThread {
    kick: Kick,
    /// The vCPU comes back with its counts, so that it outlives every kick.
    thread: JoinHandle<(VcpuFd, ExitCounts)>,
}

impl VcpuThread {
    /// Runs `vcpu` on a thread of its own until the machine stops.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub(crate) fn spawn(id: u8, mut vcpu: VcpuFd, shared: Shared) -> Result<Self> {
        let kick = Kick::new(&mut vcpu);
        let thread = thread::Builder::new()
            .name(format!("vcpu{id}"))
            .spawn(move || {
                let _guard = StopOnPanic(&shared.stop);
                let mut counts = ExitCounts::default();
                if let Err(error) = run(&mut vcpu, &shared, &mut counts) {
                    let error = error.context(format!("vCPU {id}"));
                    shared.stop.request(Outcome::Failed(error));
                }
                (vcpu, counts)
            })
            .with_context(|| format!("cannot start the thread of vCPU {id}"))?;
        Ok(Self { kick, thread })
    }

    /// Makes the vCPU look at the stop switch.
    ///
    /// # Errors
    ///
    /// When the signal cannot be sent.
    pub(crate) fn kick(&self) -> Result<()> {
        self.kick.set();
        self.thread
            .kill(SIGRTMIN())
            .context("cannot kick a vCPU thread")
    }

    /// Waits for the thread; answers what its `KVM_RUN`s came back for.
    ///
    /// # Errors
    ///
    /// When the thread panicked.
    pub(crate) fn join(self) -> Result<ExitCounts> {
        match self.thread.join() {
            Ok((_vcpu, counts)) => Ok(counts),
            Err(_) => Err(anyhow!("a vCPU thread panicked")),
        }
    }
}

fn run(vcpu: &mut VcpuFd, shared: &Shared, counts: &mut ExitCounts) -> Result<()> {
    while shared.stop.outcome().is_none() {
        match run_once(vcpu, shared, counts) {
            Ok(()) => {}
            Err(AccessError::Stopping) => break,
            Err(AccessError::Failed(error)) => return Err(error),
        }
    }
    Ok(())
}

fn run_once(
    vcpu: &mut VcpuFd,
    shared: &Shared,
    counts: &mut ExitCounts,
) -> Result<(), AccessError> {
    let exit = match vcpu.run() {
        Ok(exit) => exit,
        // A signal, or a processor that got its SIPI.
        Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => {
            counts.intr += 1;
            return Ok(());
        }
        Err(error) => {
            let error = anyhow!("KVM_RUN failed: {error}");
            return Err(AccessError::Failed(error.context(registers(vcpu))));
        }
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
        other => {
            let error = anyhow!("KVM cannot go on: {other:x?}");
            Err(AccessError::Failed(error.context(registers(vcpu))))
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

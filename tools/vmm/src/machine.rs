// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The machine: puts guest memory, KVM's irqchip, devices and vCPUs together, runs them until
//! one of them ends it, and takes everything down again.

use std::sync::Arc;

use anyhow::{anyhow, Context, Result};
use kvm_bindings::{kvm_pit_config, KVM_PIT_SPEAKER_DUMMY};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use linux_loader::{cmdline::Cmdline, loader::load_cmdline};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

use crate::{
    boot::{image, mp_table::mp_table, params, segments},
    bus::Bus,
    console::Console,
    cpuid, layout,
    legacy::{KeyboardController, SerialPort},
    memory,
    options::Options,
    report::{ExitCounts, Report},
    stop::{Outcome, Stop},
    vcpu::{self, Kick, Shared, VcpuThread},
};

/// What this machine wants Linux to know: there is no PCI and no keyboard controller to look for
/// (that takes seconds), and a reset goes by the keyboard controller's reset line.
const PLATFORM: &str = "pci=off initcall_blacklist=i8042_init reboot=k";

/// Runs a guest as `options` say, until it ends.
///
/// # Errors
///
/// When the machine cannot be set up, or ends for any other reason than the guest's or the
/// user's wish.
pub(crate) fn run(options: &Options) -> Result<()> {
    let stop = Arc::new(Stop::new()?);
    let machine = Machine::new(options, Arc::clone(&stop))?;
    let counts = machine.run()?;
    let stop = Arc::into_inner(stop).context("a thread outlived the machine")?;
    let outcome = stop
        .into_outcome()
        .context("the machine ended without a reason")?;
    if let Some(path) = &options.report {
        let report = Report {
            outcome: describe(&outcome),
            vcpus: counts,
        };
        report.write(path)?;
    }
    match outcome {
        Outcome::GuestReset => Ok(()),
        Outcome::Terminated(by) => Err(anyhow!("ended by {by}")),
        Outcome::Failed(error) => Err(error),
    }
}

fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::GuestReset => "guest reset".to_owned(),
        Outcome::Terminated(by) => format!("ended by {by}"),
        Outcome::Failed(error) => format!("failed: {error:#}"),
    }
}

/// Everything there is before the first instruction runs. The VM is dropped before its memory.
struct Machine {
    vcpus: Vec<VcpuFd>,
    _vm: VmFd,
    _memory: GuestMemoryMmap,
    serial: Arc<SerialPort>,
    shared: Shared,
}

impl Machine {
    fn new(options: &Options, stop: Arc<Stop>) -> Result<Self> {
        let kvm = Kvm::new().context("cannot open /dev/kvm")?;
        let vm = create_vm(&kvm)?;
        let ranges = memory::ranges(options.memory << 20);
        let memory = memory::new(&ranges)?;
        memory::give_to(&vm, &memory)?;

        let serial = Arc::new(SerialPort::new(interrupt_line(&vm, layout::SERIAL_IRQ)?)?);
        let pio = ports(Arc::clone(&serial), Arc::clone(&stop))?;
        let mmio = Bus::default();

        let entry = load(options, &memory, &ranges)?;
        let supported = cpuid::supported(&kvm)?;
        let vcpus: Vec<_> = (0..options.cpus)
            .map(|id| vcpu::create(&vm, &supported, id, options.cpus))
            .collect::<Result<_>>()?;
        vcpu::start_at(&vcpus[0], entry)?;
        let shared = Shared {
            pio: Arc::new(pio),
            mmio: Arc::new(mmio),
            stop,
        };
        Ok(Self {
            vcpus,
            _vm: vm,
            _memory: memory,
            serial,
            shared,
        })
    }

    /// Runs the vCPUs; this thread is the console's. Whatever happens, every vCPU thread is
    /// joined.
    fn run(self) -> Result<Vec<ExitCounts>> {
        Kick::install_handler()?;
        let stop = Arc::clone(&self.shared.stop);
        let mut threads = Vec::new();
        for (id, vcpu) in (0u8..).zip(self.vcpus) {
            match VcpuThread::spawn(id, vcpu, self.shared.clone()) {
                Ok(thread) => threads.push(thread),
                Err(error) => stop.request(Outcome::Failed(error)),
            }
        }
        let console = Console::new(&self.serial, &stop).and_then(|mut console| console.run());
        if let Err(error) = console {
            stop.request(Outcome::Failed(error));
        }
        for thread in &threads {
            thread.kick()?;
        }
        threads.into_iter().map(VcpuThread::join).collect()
    }
}

fn create_vm(kvm: &Kvm) -> Result<VmFd> {
    let vm = kvm.create_vm().context("KVM refuses a new VM")?;
    vm.set_identity_map_address(layout::IDENTITY_MAP)
        .context("KVM refuses the identity map page")?;
    vm.set_tss_address(layout::TSS)
        .context("KVM refuses the TSS pages")?;
    vm.create_irq_chip().context("KVM refuses an irqchip")?;
    let pit = kvm_pit_config {
        flags: KVM_PIT_SPEAKER_DUMMY,
        ..Default::default()
    };
    vm.create_pit2(pit).context("KVM refuses a PIT")?;
    Ok(vm)
}

/// An eventfd that raises `line` of the irqchip when it is written.
fn interrupt_line(vm: &VmFd, line: u32) -> Result<EventFd> {
    let event = EventFd::new(EFD_NONBLOCK).context("cannot create an interrupt eventfd")?;
    vm.register_irqfd(&event, line)
        .with_context(|| format!("KVM refuses an irqfd for line {line}"))?;
    Ok(event)
}

fn ports(serial: Arc<SerialPort>, stop: Arc<Stop>) -> Result<Bus> {
    let mut bus = Bus::default();
    bus.insert(layout::SERIAL_PORT, layout::SERIAL_PORTS, serial)?;
    let keyboard = Arc::new(KeyboardController::new(stop));
    bus.insert(layout::I8042_PORT, layout::I8042_PORTS, keyboard)?;
    Ok(bus)
}

/// Loads everything the guest finds in memory; answers the kernel's entry.
fn load(options: &Options, memory: &GuestMemoryMmap, ranges: &[(u64, u64)]) -> Result<u64> {
    let kernel = image::load_kernel(memory, &options.kernel)?;
    let initrd = options
        .initrd
        .as_deref()
        .map(|path| image::load_initrd(memory, path, kernel.end))
        .transpose()?;
    params::write(memory, &params::zero_page(&kernel, ranges, initrd))?;
    segments::write(memory)?;
    let table = mp_table(options.cpus, layout::MP_TABLE as u32);
    memory.write_slice(&table, GuestAddress(layout::MP_TABLE))?;
    let cmdline = command_line(&options.cmdline)?;
    load_cmdline(memory, GuestAddress(layout::CMDLINE), &cmdline)?;
    Ok(kernel.entry)
}

fn command_line(user: &str) -> Result<Cmdline> {
    let mut cmdline = Cmdline::new(layout::CMDLINE_SIZE)?;
    cmdline.insert_str(PLATFORM)?;
    cmdline.insert_str(user).with_context(|| {
        format!(
            "the kernel command line is longer than {}",
            layout::CMDLINE_SIZE
        )
    })?;
    Ok(cmdline)
}

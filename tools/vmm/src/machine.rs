// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The machine: puts guest memory, KVM's irqchip, devices and vCPUs together, runs them until
//! one of them ends it, and takes everything down again.

use std::{sync::Arc, thread};

use anyhow::{anyhow, ensure, Context, Result};
use kvm_bindings::{kvm_pit_config, KVM_PIT_SPEAKER_DUMMY};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use linux_loader::{cmdline::Cmdline, loader::load_cmdline};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

use crate::{
    assigned::{self, arming, vector::Wiring},
    boot::{
        image,
        mp_table::{mp_table, Pin},
        params, segments,
    },
    bus::Bus,
    console::Console,
    cpuid,
    disk::{self, spec::DiskSpec, Disk, Interrupts, Slot},
    layout,
    legacy::{KeyboardController, SerialPort},
    marks::Marks,
    memory,
    options::Options,
    pci::{host_bridge::HostBridge, served_function::Header, window::Window, Function},
    report::{ExitCounters, Report},
    routes::Routes,
    stop::{Outcome, Stop},
    vcpu::{self, install_kick_handler, Shared, VcpuThread},
};

/// What this machine wants Linux to know: there is no ACPI or keyboard controller to look for
/// (that takes seconds), and a reset goes by the keyboard controller's reset line.
const PLATFORM: &str = "acpi=off initcall_blacklist=i8042_init reboot=k";
/// The same of PCI.
const NO_PCI: &str = "pci=off";

/// Runs a guest as `options` say, until it ends.
///
/// # Errors
///
/// When the machine cannot be set up, or ends for any other reason than the guest's or the
/// user's wish.
pub(crate) fn run(options: &Options) -> Result<()> {
    let stop = Arc::new(Stop::new()?);
    let result = Machine::new(options, Arc::clone(&stop)).and_then(Machine::run);
    let counted = result?;
    let outcome = Arc::into_inner(stop)
        .context("a thread outlived the machine")?
        .into_outcome()
        .context("the machine ended without a reason")?;
    if let Some(path) = &options.report {
        let report = Report {
            outcome: describe(&outcome),
            ..counted
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

/// Everything there is before the first instruction runs. Dropped in this order: the VM goes
/// before its memory.
struct Machine {
    vcpus: Vec<VcpuFd>,
    /// The CPU of each, if it has one.
    cpus: Vec<Option<usize>>,
    shared: Shared,
    serial: Arc<SerialPort>,
    disks: Vec<Disk>,
    exits: Vec<Arc<ExitCounters>>,
    marks: Arc<Marks>,
    _vm: Arc<VmFd>,
    _memory: GuestMemoryMmap,
}

impl Machine {
    fn new(options: &Options, stop: Arc<Stop>) -> Result<Self> {
        let kvm = Kvm::new().context("cannot open /dev/kvm")?;
        let vm = Arc::new(create_vm(&kvm)?);
        let ranges = memory::ranges(options.memory << 20);
        let memory = memory::new(&ranges)?;
        memory::give_to(&vm, &memory)?;
        let entry = load(options, &memory, &ranges)?;
        let vcpus = create_vcpus(&kvm, &vm, options)?;
        vcpu::start_at(&vcpus[0], entry)?;

        let machine = disk::Machine {
            vm: &vm,
            memory: &memory,
            vcpus: options.cpus.into(),
            stop: &stop,
        };
        let routes = Arc::new(Routes::new(Arc::clone(&vm)));
        let mut window = Window::default();
        let (disks, mut functions) = create_disks(options, &machine, &routes, &mut window)?;
        let exits: Vec<Arc<ExitCounters>> = vcpus.iter().map(|_| Arc::default()).collect();
        let states = disks.iter().map(|disk| disk.state().clone()).collect();
        let marks = Arc::new(Marks::new(options.mark.clone(), exits.clone(), states));
        let line = interrupt_line(&vm, layout::SERIAL_IRQ)?;
        let serial = Arc::new(SerialPort::new(line, Arc::clone(&marks))?);
        let mut pio = ports(Arc::clone(&serial), Arc::clone(&stop))?;
        let mut mmio = Bus::default();
        for disk in disks.iter().filter(|disk| !disk.is_on_pci()) {
            mmio.insert(disk.address(), layout::VIRTIO_MMIO_SIZE, disk.bus_device())?;
        }
        let devices = assigned::take(&options.devices, &vm, &memory, &routes, &mut window)?;
        functions.extend(devices);
        if !functions.is_empty() {
            HostBridge::new(functions)?.connect(&mut pio, &mut mmio)?;
        }
        let shared = Shared {
            pio: Arc::new(pio),
            mmio: Arc::new(mmio),
            stop,
        };
        Ok(Self {
            vcpus,
            cpus: arming::cpus(&options.devices, options.cpus)?,
            shared,
            serial,
            disks,
            exits,
            marks,
            _vm: vm,
            _memory: memory,
        })
    }

    /// Runs the vCPUs and the disks' supervisors until the machine stops; this thread is the
    /// console's. Whatever happens, every thread is joined. Answers what was counted.
    fn run(self) -> Result<Report> {
        install_kick_handler()?;
        thread::scope(|scope| {
            let stop = &self.shared.stop;
            for disk in &self.disks {
                let thread = thread::Builder::new().name("supervisor".to_owned());
                if let Err(error) = thread.spawn_scoped(scope, || disk.supervise()) {
                    stop.request(Outcome::Failed(error.into()));
                }
            }
            let threads = start(self.vcpus, &self.cpus, &self.exits, &self.shared);
            let console = Console::new(&self.serial, stop).and_then(|mut console| console.run());
            if let Err(error) = console {
                stop.request(Outcome::Failed(error));
            }
            halt(threads, &self.disks)
        })?;
        Ok(Report {
            outcome: String::new(),
            vcpus: self.exits.iter().map(|exits| exits.values()).collect(),
            disks: self.disks.iter().map(Disk::report).collect(),
            marks: self.marks.taken(),
        })
    }
}

fn create_vcpus(kvm: &Kvm, vm: &VmFd, options: &Options) -> Result<Vec<VcpuFd>> {
    let mut supported = cpuid::supported(kvm)?;
    if arming::wants_it(&options.devices) {
        cpuid::with_every_eoi(&mut supported);
    }
    (0..options.cpus)
        .map(|id| vcpu::create(vm, &supported, id, options.cpus))
        .collect()
}

/// What is on the PCI bus.
type Functions = Vec<Box<dyn Function>>;

/// The disks, and those of them that are PCI functions.
fn create_disks(
    options: &Options,
    machine: &disk::Machine<'_>,
    routes: &Arc<Routes>,
    window: &mut Window,
) -> Result<(Vec<Disk>, Functions)> {
    let wiring = Arc::new(Wiring {
        vm: Arc::clone(machine.vm),
        routes: Arc::clone(routes),
        arming: None,
    });
    let pins = pins(options)?;
    let (mut disks, mut functions) = (Vec::new(), Functions::new());
    for (index, spec) in options.disks.iter().enumerate() {
        let what = || format!("disk {index}");
        let Some(model) = spec.model() else {
            let slot = Slot::new(disks.len() - functions.len())?;
            let line = Interrupts::of_line(interrupt_line(machine.vm, slot.irq)?);
            disks.push(Disk::new(spec, slot, line, machine).with_context(what)?);
            continue;
        };
        let header = Header::new(model, window, &wiring)?;
        let device = functions.len() + 1;
        let pin = pins.iter().find(|pin| usize::from(pin.device) == device);
        let interrupts = match pin {
            Some(pin) => Interrupts::of_pin(machine.vm, pin.line.into())?,
            None => Interrupts::of_vectors(header.events()?)?,
        };
        let line = pin.map_or(0, |pin| pin.line.into());
        let slot = Slot::pci(header.address(), model, line);
        let disk = Disk::new(spec, slot, interrupts, machine).with_context(what)?;
        let stop = Arc::clone(machine.stop);
        functions.push(Box::new(header.served_by(disk.bus_device(), stop)));
        disks.push(disk);
    }
    Ok((disks, functions))
}

/// The interrupt pins of the PCI devices, which are numbered from 1 on.
fn pins(options: &Options) -> Result<Vec<Pin>> {
    let models = options.disks.iter().filter_map(DiskSpec::model);
    let pinned = (1..).zip(models).filter(|(_, model)| model.has_pin());
    let lines = layout::PCI_LINES;
    let pins: Vec<Pin> = lines
        .zip(pinned)
        .map(|(line, (device, _))| Pin { device, line })
        .collect();
    let models = options.disks.iter().filter_map(DiskSpec::model);
    let wanted = models.filter(|model| model.has_pin()).count();
    ensure!(
        pins.len() == wanted,
        "there can be at most {} interrupt pins",
        pins.len()
    );
    Ok(pins)
}

/// Starts the vCPUs; when one does not, the machine stops.
fn start(
    vcpus: Vec<VcpuFd>,
    cpus: &[Option<usize>],
    exits: &[Arc<ExitCounters>],
    shared: &Shared,
) -> Vec<VcpuThread> {
    let mut threads = Vec::new();
    for (((id, vcpu), &cpu), exits) in (0u8..).zip(vcpus).zip(cpus).zip(exits) {
        match VcpuThread::spawn(id, vcpu, cpu, shared.clone(), Arc::clone(exits)) {
            Ok(thread) => threads.push(thread),
            Err(error) => shared.stop.request(Outcome::Failed(error)),
        }
    }
    threads
}

/// Gets the vCPUs out of KVM and out of their disks once the machine stops, and waits for them.
fn halt(threads: Vec<VcpuThread>, disks: &[Disk]) -> Result<()> {
    let closed: Vec<_> = disks.iter().map(Disk::close).collect();
    let kicked: Vec<_> = threads.iter().map(VcpuThread::kick).collect();
    let joined: Vec<_> = threads.into_iter().map(VcpuThread::join).collect();
    closed.into_iter().chain(kicked).chain(joined).collect()
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
    let table = mp_table(options.cpus, &pins(options)?, layout::MP_TABLE as u32);
    memory.write_slice(&table, GuestAddress(layout::MP_TABLE))?;
    let on_pci = options.disks.iter().filter(|disk| disk.model().is_some());
    let on_pci = on_pci.count();
    let has_pci = on_pci > 0 || !options.devices.is_empty();
    let cmdline = command_line(&options.cmdline, options.disks.len() - on_pci, has_pci)?;
    load_cmdline(memory, GuestAddress(layout::CMDLINE), &cmdline)?;
    Ok(kernel.entry)
}

fn command_line(user: &str, disks: usize, has_pci: bool) -> Result<Cmdline> {
    let too_long = || {
        format!(
            "the kernel command line exceeds {} bytes",
            layout::CMDLINE_SIZE
        )
    };
    let mut cmdline = Cmdline::new(layout::CMDLINE_SIZE)?;
    cmdline.insert_str(PLATFORM)?;
    if !has_pci {
        cmdline.insert_str(NO_PCI)?;
    }
    for index in 0..disks {
        let slot = Slot::new(index)?;
        let address = GuestAddress(slot.registers.address);
        cmdline
            .add_virtio_mmio_device(layout::VIRTIO_MMIO_SIZE, address, slot.irq, None)
            .with_context(too_long)?;
    }
    cmdline.insert_str(user).with_context(too_long)?;
    Ok(cmdline)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(user: &str, disks: usize, has_pci: bool) -> String {
        let cmdline = command_line(user, disks, has_pci).unwrap();
        cmdline.as_cstring().unwrap().into_string().unwrap()
    }

    #[test]
    fn disks_are_announced_and_the_user_has_the_last_word() {
        let text = text("console=ttyS0 reboot=t -- init args", 2, false);
        assert!(text.contains(" virtio_mmio.device=4K@0xd0000000:5 "));
        assert!(text.contains(" virtio_mmio.device=4K@0xd0001000:6 "));
        assert!(
            text.ends_with(" console=ttyS0 reboot=t -- init args"),
            "{text}"
        );
    }

    #[test]
    fn linux_looks_for_pci_if_there_is_any() {
        assert!(text("", 0, false).contains("pci=off"));
        assert!(!text("", 0, true).contains("pci=off"));
    }

    #[test]
    fn more_disks_than_lines_and_too_long_a_text_are_refused() {
        assert!(command_line("", 9, false).is_ok());
        let error = command_line("", 10, false).unwrap_err().to_string();
        assert!(error.contains("at most 9 disks"), "{error}");
        let error = command_line(&"x".repeat(2048), 0, true)
            .unwrap_err()
            .to_string();
        assert!(error.contains("2048"), "{error}");
    }
}

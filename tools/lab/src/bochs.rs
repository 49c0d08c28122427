// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! L0 for what QEMU does not emulate: VMX. The one place that knows Bochs' configuration.

mod disk;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use l1::job::{Job, PARAMETER};

use crate::boot::Emulated;
use crate::companion;
use crate::images::{add_modules, archive, l1_tree, Images};
use crate::modules;
use crate::out::{self, Places};
use crate::progress::Step;

/// Where `setup bochs` links it.
const HOME: &str = "out/bochs";

/// Why a test is skipped for want of it.
pub(crate) const NONE: &str = "no Bochs: `setup bochs` builds one where Debian has its source";

/// What runs in such an L1.
const PROGRAMS: &[&str] = &["l1-init", "irq_tests"];

/// The module that L1 loads, and those that a test does.
const MODULES: &[&str] = &["kvm_intel", "exitless", "hpet_msi"];

/// Instructions per microsecond, as Bochs' clocks have it. It is the rate of the time-stamp counter,
/// too, which the processor's own leaves tell another story of.
const MHZ: u32 = 100;

/// One L1 with VMX, and one CPU.
pub(crate) struct Bochs<'a> {
    /// What [`find`] has found.
    pub(crate) home: &'a Path,
    pub(crate) places: &'a Places,
    pub(crate) images: &'a Images,
    pub(crate) job: &'a Job,
    /// Directory of its logs.
    pub(crate) directory: &'a Path,
}

/// Bochs and its firmware, if there is one.
pub(crate) fn find(places: &Places) -> Option<PathBuf> {
    places.source(HOME).canonicalize().ok()
}

/// The kernel, and an initramfs without what an emulator of so few instructions per second takes long
/// for.
///
/// # Errors
///
/// An input is missing or the result cannot be written.
pub(crate) fn images(places: &Places, plain: &Images) -> Result<Images> {
    let mut programs = companion::build(places)?;
    programs.retain(|program| PROGRAMS.contains(&program.name.as_str()));
    let step = Step::start("initramfs for Bochs");
    let mut tree = l1_tree(&programs)?;
    let wanted: Vec<String> = MODULES.iter().map(|&name| name.to_owned()).collect();
    let modules = modules::with_dependencies(places, &wanted)?;
    add_modules(&mut tree, "lib/modules", &modules, modules::loads_at_boot)?;
    let initramfs = archive(places, &step, "initramfs-bochs.cpio", &tree)?;
    step.done();
    Ok(Images {
        initramfs,
        ..plain.clone()
    })
}

impl Bochs<'_> {
    /// A processor with VMX and its preemption timer, but not with posted interrupts, so that KVM
    /// leaves APICv alone. Bochs ends with a failure when something panics.
    fn configuration(&self) -> String {
        let firmware = |name| self.home.join(name).display().to_string();
        let lines = [
            "display_library: nogui".to_owned(),
            "memory: guest=768, host=768".to_owned(),
            format!("romimage: file=\"{}\"", firmware("bios.bin")),
            format!("vgaromimage: file=\"{}\"", firmware("vgabios.bin")),
            format!("cpu: model=broadwell_ult, count=1, ips={MHZ}000000, reset_on_triple_fault=0"),
            "clock: sync=none, time0=946681200".to_owned(),
            "pci: enabled=1, chipset=i440fx".to_owned(),
            "ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14".to_owned(),
            "ata0-master: type=disk, path=disk.img, mode=flat".to_owned(),
            "boot: disk".to_owned(),
            "com1: enabled=1, mode=file, dev=l1.log".to_owned(),
            "com2: enabled=1, mode=file, dev=results.jsonl".to_owned(),
            "log: -".to_owned(),
            "panic: action=fatal".to_owned(),
            "error: action=ignore".to_owned(),
            "info: action=ignore\n".to_owned(),
        ];
        lines.join("\n")
    }

    /// As QEMU's L1 has it; x2APIC goes with the local APIC's messages only, so there is no I/O APIC.
    fn cmdline(&self) -> String {
        format!(
            "console=ttyS0,115200 loglevel=8 panic=-1 oops=panic nokaslr no_timer_check \
             kvm.halt_poll_ns=0 tsc=reliable tsc_early_khz={MHZ}000 noapic x2apic_phys \
             {PARAMETER}{}",
            self.job
        )
    }
}

impl Emulated for Bochs<'_> {
    fn emulator(&self) -> &'static str {
        "Bochs"
    }

    fn cpus(&self) -> u32 {
        1
    }

    fn directory(&self) -> &Path {
        self.directory
    }

    fn command(&self) -> Result<Command> {
        let disk = self.directory.join("disk.img");
        // Of a Bochs that was killed.
        let lock = self.directory.join("disk.img.lock");
        if lock.exists() {
            fs::remove_file(&lock).with_context(|| lock.display().to_string())?;
        }
        disk::make(self.places, self.images, &self.cmdline(), &disk)?;
        let configuration = self.directory.join("bochsrc");
        out::write(&configuration, &self.configuration())?;
        let log = self.emulator_log();
        let log = File::create(&log).with_context(|| log.display().to_string())?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(self.home.join("bochs"))
            .args(["-q", "-f", "bochsrc"])
            .current_dir(self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command)
    }
}

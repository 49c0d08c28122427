// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! virtio_fe.ko in L1, on virtio devices of QEMU's: each machine of `fe_tests` is a boot, and each
//! of its disks is an image, which is made and judged here.

mod backend;
pub(super) mod bus;
mod rogues;
mod slots;
mod wires;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use fe_tests::content::{self, FIRST, LAST, READ_ONLY, SECTOR, SECTORS, WRITTEN};
use fe_tests::errand::Errand;
use fe_tests::plan::{self, work, Bus, Kind};
use fe_tests::wire::{Carrier, Wire};
use l1::job::{Job, ROOT};

use self::backend::Backend;
use self::slots::Slots;
use super::test::{skipped, test, whole};
use super::Lab;
use crate::boot::boot_and_listen;
use crate::disk_root::{self, DiskRoot};
use crate::images::installed;
use crate::ktap::{self, Test};
use crate::qemu::{escaped, Hardware, Machine, Program, NO_RECENT};

/// Seconds for all tests of a machine.
const LIMIT: u64 = 240;

/// How often the module goes and comes.
const RELOADS: u64 = 8;

/// Requests in a second.
const SLOW: &str = ",throttling.iops-total=2";

/// Sectors that are made or judged at a time.
const PIECE: u64 = 2048;

/// L1's kernel has its own drivers built in, and they would be there first.
const NO_OTHER_DRIVERS: &str = "initcall_blacklist=virtio_pci_driver_init,virtio_mmio_init";

/// The disk of a device that lies.
const ROGUE_IMAGE: &str = "rogue.img";

/// What the user wants of these tests.
#[derive(Clone, Copy)]
pub(super) struct Wish<'a> {
    /// Times all limits, and divides how often things are done.
    pub(super) slower: u64,
    /// Seconds for which devices that lie do so.
    pub(super) attack: u64,
    /// Only this machine.
    pub(super) only: Option<&'a str>,
}

impl Wish<'_> {
    fn limit(self, plan: &plan::Machine) -> Duration {
        let attack = if plan.rogues.is_empty() {
            0
        } else {
            self.attack
        };
        Duration::from_secs(self.slower * LIMIT + attack)
    }
}

/// The tests on all machines, or on one.
///
/// # Errors
///
/// An image cannot be made, or L1 cannot be booted.
pub(super) fn tests(lab: &Lab, wish: Wish<'_>) -> Result<Vec<Test>> {
    let is_wanted = |plan: &&plan::Machine| wish.only.is_none_or(|only| plan.name == only);
    let (disks, wires): (Vec<_>, Vec<_>) = plan::machines()
        .filter(is_wanted)
        .partition(|plan| plan.wires.is_empty());
    // Wires wait more than they work.
    let [disks, wires] = thread::scope(|scope| {
        [disks, wires]
            .map(|plans| scope.spawn(move || one_after_the_other(lab, &plans, wish)))
            .map(|lane| lane.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    let mut tests = disks?;
    tests.append(&mut wires?);
    Ok(tests)
}

fn one_after_the_other(lab: &Lab, plans: &[&plan::Machine], wish: Wish<'_>) -> Result<Vec<Test>> {
    let mut tests = Vec::new();
    for plan in plans {
        if let Some(reason) = cannot(lab, plan, wish) {
            tests.push(skipped(&format!("virtio-fe.{}", plan.name), &reason));
            continue;
        }
        let mut found = on(lab, plan, wish)?;
        for test in &mut found {
            test.name = format!("virtio-fe.{}.{}", plan.name, test.name);
        }
        tests.append(&mut found);
    }
    Ok(tests)
}

/// Why native slots are left out with lock checking, which switches itself off with its first report.
const INVERTED: &str = "Linux 7.3's pciehp_unconfigure_device() takes its two locks in both orders";

/// Why this machine is left out, if so.
fn cannot(lab: &Lab, plan: &plan::Machine, wish: Wish<'_>) -> Option<String> {
    if plan.bus == Bus::PciWithNativeSlots && wish.slower > 1 {
        return Some(INVERTED.to_owned());
    }
    if qemu(lab, plan).is_none() {
        return Some(NO_RECENT.to_owned());
    }
    if plan.bus == Bus::VhostUser {
        return backend::missing();
    }
    let is_bridged = |wire: &Wire| matches!(wire.carrier, Carrier::Bridge(_));
    match plan.wires.iter().any(is_bridged) {
        true => wires::missing(),
        false => None,
    }
}

/// The QEMU that this machine needs, if it can be had. Without
/// "physmem: fix use-after-free with dispatch", QEMU may abort when one of two CPUs maps registers, as it
/// does for what was put into a slot.
fn qemu(lab: &Lab, plan: &plan::Machine) -> Option<Program> {
    match plan.rogues.is_empty() && !plan.has_slots {
        true => Some(Program::System),
        false => Program::recent(&lab.places),
    }
}

/// The tests on one machine.
fn on(lab: &Lab, plan: &plan::Machine, wish: Wish<'_>) -> Result<Vec<Test>> {
    let name = format!("virtio-fe-{}", plan.name);
    let directory = lab.places.out(&format!("test/{name}"))?;
    let root = plan
        .root()
        .map(|_| disk_root::build(&lab.places, &lab.images));
    let root = root.transpose()?;
    for disk in plan.disks {
        make(disk, &image(&directory, disk), root.as_ref())?;
    }
    if !plan.rogues.is_empty() {
        make_content(ROGUE_IMAGE, &directory.join(ROGUE_IMAGE))?;
    }
    let _servers = rogues::start(lab, plan.rogues, &directory, ROGUE_IMAGE)?;
    let job = job(plan, wish);
    let slots = Slots::of(plan, &directory);
    let mut hardware = hardware(plan, &directory);
    hardware.arguments.extend(slots.arguments());
    let qemu = qemu(lab, plan).context(NO_RECENT)?;
    let machine = Machine {
        qemu: &qemu,
        hardware: &hardware,
        images: root.as_ref().map_or(&lab.images, |root| &root.images),
        has_guests: false,
        ..lab.machine(&job, plan.cpus, &directory)
    };
    let mut backends = Backend::start_all(plan, &directory)?;
    let outcome = boot_and_listen(&machine, &name, wish.limit(plan), |line| {
        carry_out(line, &slots, &mut backends)
    })?;
    drop(backends);
    let mut tests = ktap::parse("output", outcome.stream("fe_tests"));
    tests.push(whole("boot", &outcome, &tests));
    for disk in plan.disks {
        let failures = match judge(disk, &image(&directory, disk)) {
            Ok(()) => vec![],
            Err(error) => vec![format!("{error:#}")],
        };
        tests.push(test(&format!("{}.image", disk.name), &failures));
    }
    Ok(tests)
}

/// What L1 has to do.
fn job(plan: &plan::Machine, wish: Wish<'_>) -> Job {
    let attack = wish.attack.to_string();
    let reloads = RELOADS.div_ceil(wish.slower).to_string();
    let words = [
        "/bin/fe_tests",
        "--machine",
        plan.name,
        "--module",
        "/lib/modules/virtio_fe.ko",
        "--attack-seconds",
        &attack,
        "--reloads",
        &reloads,
    ];
    Job::Program(words.map(str::to_owned).to_vec())
}

/// Does what a program in L1 asks for in this line, if it does.
fn carry_out(line: &str, slots: &Slots, backends: &mut [Backend]) -> Result<()> {
    match Errand::parse(line) {
        None => Ok(()),
        Some(Errand::Take(name)) => slots.take(name),
        Some(Errand::Give(name)) => slots.give(name),
        Some(Errand::Restart(name)) => backend::restart(backends, name),
    }
}

fn image(directory: &Path, disk: &plan::Disk) -> PathBuf {
    directory.join(format!("{}.img", disk.name))
}

fn hardware(plan: &plan::Machine, directory: &Path) -> Hardware {
    let words = bus::arguments(plan.bus).iter();
    let mut arguments: Vec<String> = words.map(|&word| word.to_owned()).collect();
    for disk in plan.disks {
        arguments.extend(match plan.bus {
            _ if plan.has_slots => slots::drive(disk, &image(directory, disk)),
            Bus::Pci | Bus::PciWithNativeSlots | Bus::PciWithIommu => {
                inside(disk, "virtio-blk-pci", directory)
            }
            Bus::Mmio => inside(disk, "virtio-blk-device", directory),
            Bus::VhostUser => backend::arguments(disk, directory),
        });
    }
    arguments.extend(wires::arguments(plan));
    arguments.extend(rogues::arguments(plan.rogues, directory));
    let others = if plan.has_other_drivers {
        ""
    } else {
        NO_OTHER_DRIVERS
    };
    Hardware {
        machine: match plan.rogues {
            [] => bus::machine(plan.bus),
            _ => rogues::MACHINE,
        },
        before: wires::before(plan),
        arguments,
        cmdline: format!("{others} {} {}", bus::words(plan.bus), root_words(plan)),
    }
}

/// QEMU's arguments for a disk that it serves itself.
fn inside(disk: &plan::Disk, device: &str, directory: &Path) -> Vec<String> {
    let name = disk.name;
    let path = escaped(&image(directory, disk));
    let special = match disk.kind {
        Kind::Plain | Kind::Loose | Kind::Root | Kind::Work | Kind::Fleeting => "",
        Kind::ReadOnly => ",read-only=on",
        Kind::Slow => SLOW,
    };
    let drive = format!("file={path},format=raw,if=none,discard=unmap,id={name}{special}");
    ["-drive", &drive, "-device", &self::device(disk, device)]
        .map(str::to_owned)
        .to_vec()
}

/// What QEMU's `-device` says of a disk whose image has its name.
fn device(disk: &plan::Disk, driver: &str) -> String {
    let (name, properties) = (disk.name, disk.properties);
    format!("{driver},drive={name},serial={name},{properties}")
}

/// What the kernel has to know of its root file system.
fn root_words(plan: &plan::Machine) -> String {
    let root = plan.root().map(|disk| format!("{ROOT}{}", disk.name));
    root.unwrap_or_default()
}

/// Makes the image of a disk that was never written.
fn make(disk: &plan::Disk, path: &Path, root: Option<&DiskRoot>) -> Result<()> {
    let made = match (disk.kind, root) {
        (Kind::Root, Some(root)) => fs::copy(&root.disk, path).map(drop),
        (Kind::Work, _) => File::create(path).and_then(|file| file.set_len(work::BYTES)),
        _ => make_content(disk.name, path),
    };
    made.with_context(|| path.display().to_string())
}

fn make_content(name: &str, path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut piece = vec![0; PIECE as usize * SECTOR];
    for first in (0..SECTORS).step_by(PIECE as usize) {
        content::fill(name, first, FIRST, &mut piece);
        file.write_all(&piece)?;
    }
    file.flush()
}

/// What the tests have left there is as they say.
fn judge(disk: &plan::Disk, path: &Path) -> Result<()> {
    match disk.kind {
        Kind::Root | Kind::Work => judge_file_system(path),
        _ => judge_content(disk, path),
    }
}

/// The file system was unmounted, and nothing is wrong with it.
fn judge_file_system(path: &Path) -> Result<()> {
    let output = Command::new(installed("e2fsck")?)
        .arg("-fn")
        .arg(path)
        .output()
        .context("e2fsck")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "e2fsck: {}", text.trim());
    Ok(())
}

/// What was only read is as it was, and what was written is as the tests left it.
fn judge_content(disk: &plan::Disk, path: &Path) -> Result<()> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let is_written = disk.kind == Kind::Plain;
    let written = if is_written { LAST } else { FIRST };
    for (part, generation) in [(READ_ONLY, FIRST), (WRITTEN, written)] {
        let mut piece = vec![0; PIECE as usize * SECTOR];
        for first in part.step_by(PIECE as usize) {
            file.read_exact_at(&mut piece, first * SECTOR as u64)?;
            let wrong = content::first_wrong(disk.name, first, generation, &piece);
            ensure!(wrong.is_none(), "sector and whether it is zero: {wrong:?}");
        }
    }
    Ok(())
}

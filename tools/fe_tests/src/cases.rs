// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The tests, a file for each theme.

mod coexist;
mod counts;
mod culprit;
mod ext4;
mod fio;
mod flood;
mod gone;
mod hotplug;
mod iperf;
mod leak;
mod multicast;
mod offloads;
mod recover;
mod reload;
mod request;
mod restart;
mod rogue;
mod root;
mod selftests;
mod sleep;
mod stress;
mod stuck;
mod trace;
mod what;
mod wire;

use std::time::Duration;

use anyhow::Result;
use fe_tests::plan::rogues::{Lie, Rogue};
use fe_tests::plan::{self, Bus, Kind, Machine};
use module_tests::verdict::Skip;

use crate::disk::Disk;
use crate::driver::Module;

/// What a test does.
type Run = dyn Fn(&Machine, &Module) -> Result<()>;

/// One test.
pub(crate) struct Test {
    pub(crate) name: String,
    pub(crate) run: Box<Run>,
}

/// A test of one disk.
type OfDisk = fn(&plan::Disk) -> Result<()>;

/// In this order: the last ones leave on the disks what the host checks.
const OF_EACH_DISK: &[(&str, OfDisk)] = &[
    ("what", what::run),
    ("interrupts", what::interrupts),
    ("read", request::read),
    ("write", request::write),
    ("scatter", request::scatter),
    ("zeroes", request::zeroes),
    ("counts", counts::run),
    ("trace", trace::run),
    ("recover", recover::on_request),
    ("stress", stress::run),
];

/// For a disk in another process, after those.
const OF_A_SERVED_DISK: &[(&str, OfDisk)] = &[("restart", restart::run)];

/// For a disk that is too slow for them.
const OF_A_SLOW_DISK: &[(&str, OfDisk)] = &[("in-time", recover::in_time)];

/// For a disk that goes.
const OF_A_LOOSE_DISK: &[(&str, OfDisk)] =
    &[("surprise", gone::surprise), ("unplug", gone::unplug)];

/// For a disk that QEMU takes and gives back.
const OF_A_DISK_IN_A_SLOT: &[(&str, OfDisk)] = &[("hotplug", hotplug::disk)];

/// For a wire an end of which QEMU takes and gives back.
const OF_A_WIRE_IN_A_SLOT: &[(&str, wire::OfWire)] = &[("hotplug", hotplug::wire)];

/// For the disk that the root file system is on.
const OF_THE_ROOT: &[(&str, OfDisk)] = &[("interrupts", what::interrupts), ("files", root::run)];

/// For a disk that others' programs work on. The host checks the file system that is left.
const OF_A_WORK_DISK: &[(&str, OfDisk)] = &[
    ("interrupts", what::interrupts),
    ("fio-notices", fio::notices),
    ("fio-mixed", fio::mixed),
    ("fio-durable", fio::durable),
    ("fio-trim", fio::trim),
    ("fio-threads", fio::threads),
    ("ext4", ext4::run),
];

/// For a wire that others' programs work on.
const OF_A_WORK_WIRE: &[(&str, wire::OfWire)] = &[
    ("flood", flood::run),
    ("iperf-tcp", iperf::tcp),
    ("iperf-udp", iperf::udp),
    ("iperf-mtu", iperf::mtu),
    ("offloads", offloads::run),
];

/// The tests of a machine, on which devices that lie do so for the time of the `attack`.
pub(crate) fn of(machine: &'static Machine, attack: Duration) -> Vec<Test> {
    let mut tests = match (machine.has_other_drivers, machine.root()) {
        (true, _) => vec![test("coexist".to_owned(), coexist::run)],
        (false, None) => vec![test("load".to_owned(), |_, module| module.load())],
        // We would not be here if it were not loaded.
        (false, Some(_)) => vec![],
    };
    for disk in machine.disks {
        let themes = match disk.kind {
            _ if machine.has_slots => OF_A_DISK_IN_A_SLOT,
            Kind::Plain | Kind::ReadOnly => OF_EACH_DISK,
            Kind::Slow => OF_A_SLOW_DISK,
            Kind::Loose => OF_A_LOOSE_DISK,
            Kind::Root => OF_THE_ROOT,
            Kind::Work => OF_A_WORK_DISK,
            Kind::Fleeting => &[],
        };
        let more = match machine.bus {
            Bus::VhostUser => OF_A_SERVED_DISK,
            _ => &[],
        };
        for &(theme, run) in themes.iter().chain(more) {
            let name = format!("{}.{theme}", disk.name);
            let run =
                move |machine: &Machine, _: &Module| fits(machine, theme).and_then(|()| run(disk));
            tests.push(test(name, run));
        }
    }
    let themes = match machine.root() {
        None if machine.is_reloaded() => &[],
        None if machine.has_slots => OF_A_WIRE_IN_A_SLOT,
        None => wire::OF_EACH_WIRE,
        Some(_) => OF_A_WORK_WIRE,
    };
    for (number, wire) in machine.wires.iter().enumerate() {
        for &(name, run) in themes {
            let name = format!("{}.{name}", wire.name);
            tests.push(test(name, move |_, _| run((number, wire))));
        }
    }
    tests.extend(of_rogues(machine, attack));
    tests.extend(of_others(machine));
    if machine.sleeps {
        tests.push(test("sleep".to_owned(), sleep::run));
    }
    if machine.is_reloaded() {
        tests.push(test("leak".to_owned(), leak::run));
        tests.push(test("orphans".to_owned(), leak::orphans));
    } else if machine.root().is_none() {
        tests.push(test("reload".to_owned(), reload::run));
    }
    if machine.has_other_drivers {
        tests.push(test("give-back".to_owned(), coexist::give_back));
    }
    tests
}

/// The tests of devices that lie.
fn of_rogues(machine: &Machine, attack: Duration) -> Vec<Test> {
    let mut tests = Vec::new();
    let does_anything = |rogue: &Rogue| !matches!(rogue.lie, Lie::Only(_));
    if machine.rogues.iter().any(does_anything) {
        tests.push(test("rogues".to_owned(), move |_, _| rogue::run(attack)));
    }
    for (number, rogue) in machine.rogues.iter().enumerate() {
        if let Some(run) = culprit::test(rogue.lie) {
            let run = move |_: &Machine, _: &Module| run(&culprit::address(number));
            tests.push(test(rogue.name.to_owned(), run));
        }
    }
    tests
}

/// Tests that others wrote, for the root file systems that have their programs.
fn of_others(machine: &Machine) -> Vec<Test> {
    match (machine.root(), machine.wires) {
        (None, _) => vec![],
        (Some(_), []) => vec![test("blktests".to_owned(), selftests::blktests)],
        (Some(_), _) => vec![
            test("netdevice".to_owned(), selftests::netdevice),
            test("drivers-net".to_owned(), selftests::drivers_net),
        ],
    }
}

/// Whether the machine can have a test of disks.
fn fits(machine: &Machine, theme: &str) -> Result<()> {
    let reason = "the storage daemon goes on with requests of before a reset";
    match (machine.bus, theme) {
        (Bus::VhostUser, "recover") => Err(Skip(reason.to_owned()).into()),
        _ => Ok(()),
    }
}

fn test(name: String, run: impl Fn(&Machine, &Module) -> Result<()> + 'static) -> Test {
    let run = Box::new(run);
    Test { name, run }
}

/// The disk of the plan, as it is here.
fn open(disk: &plan::Disk) -> Result<Disk> {
    Disk::open(disk.name, disk.kind == Kind::ReadOnly)
}

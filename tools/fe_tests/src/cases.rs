// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The tests, a file for each theme.

mod coexist;
mod counts;
mod gone;
mod recover;
mod reload;
mod request;
mod sleep;
mod stress;
mod what;
mod wire;

use std::fmt;

use anyhow::Result;
use fe_tests::plan::{self, Kind, Machine};

use crate::disk::Disk;
use crate::driver::Module;

/// What a test does.
type Run = dyn Fn(&Machine, &Module) -> Result<()>;

/// One test.
pub(crate) struct Test {
    pub(crate) name: String,
    pub(crate) run: Box<Run>,
}

/// The error of a test that cannot run here.
#[derive(Debug)]
pub(crate) struct Skip(pub(crate) String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

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
    ("recover", recover::on_request),
    ("stress", stress::run),
];

/// For a disk that is too slow for them.
const OF_A_SLOW_DISK: &[(&str, OfDisk)] = &[("in-time", recover::in_time)];

/// For a disk that goes.
const OF_A_LOOSE_DISK: &[(&str, OfDisk)] =
    &[("surprise", gone::surprise), ("unplug", gone::unplug)];

/// The tests of a machine.
pub(crate) fn of(machine: &'static Machine) -> Vec<Test> {
    let mut tests = vec![match machine.has_other_drivers {
        true => test("coexist".to_owned(), coexist::run),
        false => test("load".to_owned(), |_, module| module.load()),
    }];
    for disk in machine.disks {
        let themes = match disk.kind {
            Kind::Plain | Kind::ReadOnly => OF_EACH_DISK,
            Kind::Slow => OF_A_SLOW_DISK,
            Kind::Loose => OF_A_LOOSE_DISK,
        };
        for &(name, run) in themes {
            let name = format!("{}.{name}", disk.name);
            tests.push(test(name, move |_, _| run(disk)));
        }
    }
    for (number, wire) in machine.wires.iter().enumerate() {
        for &(name, run) in wire::OF_EACH_WIRE {
            let name = format!("{}.{name}", wire.name);
            tests.push(test(name, move |_, _| run((number, wire))));
        }
    }
    if machine.sleeps {
        tests.push(test("sleep".to_owned(), sleep::run));
    }
    tests.push(test("reload".to_owned(), reload::run));
    if machine.has_other_drivers {
        tests.push(test("give-back".to_owned(), coexist::give_back));
    }
    tests
}

fn test(name: String, run: impl Fn(&Machine, &Module) -> Result<()> + 'static) -> Test {
    let run = Box::new(run);
    Test { name, run }
}

/// The disk of the plan, as it is here.
fn open(disk: &plan::Disk) -> Result<Disk> {
    Disk::open(disk.name, disk.kind == Kind::ReadOnly)
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The tests.

use std::os::fd::AsRawFd;

use anyhow::{ensure, Context, Result};
use exitless_vectors::refusal::Refusal;
use exitless_vectors::uapi::EXITLESS_DELIVERY_ONLY;
use rustix::io::Errno;
use vmm_sys_util::eventfd::EventFd;

use crate::exitless::{Exitless, Refused};
use crate::guest::{ask_for, start};
use crate::host;
use crate::modules;
use crate::scene::{unpin, Exits, Scene, GSI, VECTORS};

mod hostile;
mod places;
mod several;
mod trace;

pub(crate) use hostile::be_victim;
use hostile::{
    idt_edited, idt_gone, idt_registers, idt_short, interrupts_off, killed, needless_eois,
    offender, priority, software_interrupts,
};
use places::{
    device_goes_and_comes, device_reset, moves, route_changes, two_guests, watcher_stays,
};
use several::{destroyed, halts, halts_in_kvm, two_vcpus, two_vectors};
use trace::trace;

/// A test.
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) run: fn() -> Result<()>,
}

macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        /// All of them.
        pub(crate) const TESTS: &[Test] = &[$(Test { name: stringify!($name), run: $name }),+];
    };
}

tests![
    stock,
    delivery_only,
    exitless,
    disarmed,
    route_changes,
    device_goes_and_comes,
    device_reset,
    moves,
    two_guests,
    two_vectors,
    two_vcpus,
    halts,
    halts_in_kvm,
    destroyed,
    watcher_stays,
    refusals,
    unload,
    trace,
    needless_eois,
    priority,
    idt_registers,
    idt_edited,
    software_interrupts,
    interrupts_off,
    offender,
    killed,
    idt_short,
    idt_gone,
];

/// Interrupts of a measurement.
const COUNT: u32 = 1000;
/// Exits that a guest makes otherwise: the first accesses to pages, the mark.
const FEW: u64 = 17;

/// Exits for as many interrupts, each of which the guest must have seen. Printed, so that a reader
/// sees the figure.
fn exits(name: &str, flags: Option<u32>) -> Result<(Exits, Exitless)> {
    let mut program = start();
    ask_for(&mut program, COUNT);
    exits_of(name, Scene::new(&program)?, flags)
}

/// The same of a guest that asks for them.
fn exits_of(name: &str, mut scene: Scene, flags: Option<u32>) -> Result<(Exits, Exitless)> {
    let exitless = scene.attach()?;
    if let Some(flags) = flags {
        scene.arm(&exitless, flags)?;
    }
    let exits = scene.exits()?;
    println!("# {name}: for {COUNT} interrupts {exits:?}");
    print(name, &exitless)?;
    expect_seen(&scene, COUNT)?;
    Ok((exits, exitless))
}

fn print(name: &str, exitless: &Exitless) -> Result<()> {
    for line in exitless.report()?.lines() {
        println!("# {name}: {line}");
    }
    Ok(())
}

fn expect_seen(scene: &Scene, want: u32) -> Result<()> {
    let seen = scene.seen()?;
    ensure!(seen == u64::from(want), "{seen} interrupts of {want}");
    Ok(())
}

/// Without direct delivery: an exit for the interrupt and one for its end, at least.
fn stock() -> Result<()> {
    let (exits, _) = exits("stock", None)?;
    expect_ordinary(exits)
}

fn expect_ordinary(exits: Exits) -> Result<()> {
    ensure!(exits.all >= 2 * u64::from(COUNT), "{exits:?}");
    Ok(())
}

/// On a busy machine the watchdog may think that a run does not end; after its NMI one run is an
/// ordinary one, with an interrupt that is injected and ended.
fn expect_direct(exits: Exits, exitless: &Exitless) -> Result<()> {
    let nmis = exitless.nmis()?;
    ensure!(exits.own() <= FEW + 3 * nmis, "{exits:?}, {nmis} NMIs");
    Ok(())
}

fn delivery_only() -> Result<()> {
    let (exits, exitless) = exits("delivery_only", Some(EXITLESS_DELIVERY_ONLY))?;
    ensure!(exits.own() >= u64::from(COUNT), "{exits:?}");
    let beyond = Exits {
        all: exits.all - u64::from(COUNT),
        ..exits
    };
    expect_direct(beyond, &exitless)
}

fn exitless() -> Result<()> {
    let (exits, exitless) = exits("exitless", Some(0))?;
    expect_direct(exits, &exitless)
}

/// Interrupts are the host's again after a disarm and after the file is closed.
fn disarmed() -> Result<()> {
    let mut program = start();
    (0..4).for_each(|_| ask_for(&mut program, COUNT));
    let mut scene = Scene::new(&program)?;
    let exitless = scene.attach()?;
    for _ in 0..2 {
        scene.arm(&exitless, 0)?;
        expect_direct(scene.exits()?, &exitless)?;
        exitless.disarm(GSI).context("disarm")?;
        expect_ordinary(scene.exits()?)?;
    }
    expect_seen(&scene, 4 * COUNT)
}

fn refusals() -> Result<()> {
    let scene = Scene::new(&start())?;
    let exitless = scene.attach()?;
    let stranger = EventFd::new(libc::EFD_CLOEXEC)?;
    expect_refusal(exitless.arm(stranger.as_raw_fd(), 0), Refusal::NoIrqfd)?;
    let vm = scene.machine.fd();
    vm.register_irqfd(&stranger, GSI + 1).context("irqfd")?;
    expect_refusal(exitless.arm(stranger.as_raw_fd(), 0), Refusal::NotAssigned)?;
    scene.route(VECTORS[2])?;
    expect_refusal(scene.arm(&exitless, 0), Refusal::Vector)?;
    scene.route(VECTORS[0])?;
    match scene.is_alone {
        true if host::ends_long_runs()? => scene.line.arm(&exitless, 0).map(drop).context("arm"),
        true => {
            let answer = scene.line.arm(&exitless, 0);
            expect_refusal(answer, Refusal::NoWatchdog)
        }
        false => {
            unpin(None)?;
            expect_refusal(scene.arm(&exitless, 0), Refusal::NotPinned)
        }
    }
}

fn expect_refusal(answer: Result<u32, Refused>, want: Refusal) -> Result<()> {
    let refused = answer.err().context("armed")?;
    ensure!(refused.refusal == want as u32, "{refused}, want {want:?}");
    let errno = refused.error.raw_os_error();
    ensure!(errno == Some(libc::EOPNOTSUPP), "{refused}");
    Ok(())
}

/// Not while a file is open, which is what arms.
fn unload() -> Result<()> {
    let scene = Scene::new(&start())?;
    let exitless = scene.attach()?;
    scene.arm(&exitless, 0)?;
    let answer = modules::unload();
    ensure!(answer == Err(Errno::AGAIN), "{answer:?}");
    Ok(())
}

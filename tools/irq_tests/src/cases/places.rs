// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Interrupts, vCPUs and devices that move, and guests beside each other.

use std::fs;
use std::thread;

use anyhow::{anyhow, ensure, Context, Result};
use exitless_vectors::refusal::Refusal;
use exitless_vectors::vectors::ChosenVector;
use fastrand::Rng;
use module_tests::verdict::Skip;
use rawguest::{Machine, Memory};
use rustix::thread::{gettid, Pid};

use super::{expect_direct, expect_ordinary, expect_refusal, expect_seen, print, COUNT};
use crate::guest::{ask_for, start, SEEN};
use crate::scene::{cpus, pin, unpin, Scene, VECTORS};

/// Direct, to another vector, to one that cannot be direct, and back.
pub(super) fn route_changes() -> Result<()> {
    let mut program = start();
    (0..4).for_each(|_| ask_for(&mut program, COUNT));
    let mut scene = Scene::new(&program)?;
    let exitless = scene.attach()?;
    scene.arm(&exitless, 0)?;
    for vector in [VECTORS[0], VECTORS[1], VECTORS[2], VECTORS[0]] {
        scene.route(vector)?;
        exitless.await_line(|line| line.starts_with("gsi") && !line.contains("on the move"))?;
        let exits = scene.exits()?;
        println!("# route_changes: vector {vector:#x}: {exits:?}");
        match ChosenVector::new(vector) {
            Some(_) => expect_direct(exits, &exitless)?,
            None => expect_ordinary(exits)?,
        }
    }
    expect_seen(&scene, 4 * COUNT)
}

/// MSI is switched off and on again.
pub(super) fn device_goes_and_comes() -> Result<()> {
    let mut program = start();
    (0..2).for_each(|_| ask_for(&mut program, COUNT));
    let mut scene = Scene::new(&program)?;
    let exitless = scene.attach()?;
    scene.arm(&exitless, 0)?;
    scene.run_to_mark()?;
    scene.line.pci()?.clear_msi()?;
    let report = exitless.report()?;
    ensure!(report.contains("gsi 24: no assigned device"), "{report}");
    scene.line.pci()?.set_msi(&scene.line.event)?;
    exitless.await_line(|line| line.starts_with("gsi 24: vector"))?;
    expect_direct(scene.exits()?, &exitless)?;
    expect_seen(&scene, 2 * COUNT)
}

/// The device is reset: its interrupt is the guest's, before and after.
pub(super) fn device_reset() -> Result<()> {
    let mut program = start();
    (0..2).for_each(|_| ask_for(&mut program, COUNT));
    let mut scene = Scene::with_device(1, &program)?;
    let exitless = scene.attach()?;
    scene.arm(&exitless, 0)?;
    expect_direct(scene.exits()?, &exitless)?;
    scene.line.pci()?.reset()?;
    expect_direct(scene.exits()?, &exitless)?;
    expect_seen(&scene, 2 * COUNT)
}

/// Each of very many interrupts is seen once, while the vCPU's thread and the interrupt's affinity
/// go from CPU to CPU.
pub(super) fn moves() -> Result<()> {
    const MANY: u32 = 100_000;
    let mut program = start();
    ask_for(&mut program, MANY);
    let mut scene = Scene::new(&program)?;
    if scene.is_alone {
        return Err(Skip("one CPU is one place".to_owned()).into());
    }
    let exitless = scene.attach()?;
    scene.arm(&exitless, 0)?;
    let (vcpu, ram) = (gettid(), scene.machine.ram().clone());
    thread::scope(|scope| {
        let mover = scope.spawn(|| move_until(&ram, MANY, vcpu));
        let exits = scene.exits()?;
        let moves = mover.join().map_err(|_| anyhow!("the mover is gone"))??;
        println!("# moves: {moves} moves, {exits:?}");
        ensure!(moves > 0, "it did not move");
        anyhow::Ok(())
    })?;
    print("moves", &exitless)?;
    ensure!(exitless.number("direct")? > 0, "no direct run");
    expect_seen(&scene, MANY)
}

/// Moves one of the two, every few hundred interrupts, until the guest has seen `all`; yields how
/// often.
fn move_until(ram: &Memory, all: u32, vcpu: Pid) -> Result<u32> {
    unpin(None)?;
    let seen = || ram.load::<u64>(SEEN.into());
    let affinity = affinity_file()?;
    let mut random = Rng::with_seed(1);
    let mut moves = 0;
    while seen()? < all.into() {
        let cpu = cpus()[random.usize(0..2)];
        match random.bool() {
            true => pin(Some(vcpu), cpu)?,
            // Refused while an earlier move is on its way.
            false => drop(fs::write(&affinity, format!("{}", 1 << cpu))),
        }
        moves += 1;
        let until = u64::from(all).min(seen()? + random.u64(0..512));
        while seen()? < until {
            thread::yield_now();
        }
    }
    Ok(moves)
}

/// The CPU that watches the vCPU's cannot go offline. It is the first one that can watch; that of the
/// machine never goes.
pub(super) fn watcher_stays() -> Result<()> {
    if cpus().len() == 1 {
        return Err(Skip("one CPU has nobody to watch it".to_owned()).into());
    }
    let scene = Scene::on(0, Machine::with_local_apics()?, 0, &start())?;
    let exitless = scene.attach()?;
    scene.arm(&exitless, 0)?;
    let answer = fs::write("/sys/devices/system/cpu/cpu1/online", "0");
    let error = answer.err().context("the CPU went offline")?;
    ensure!(error.raw_os_error() == Some(libc::EBUSY), "{error}");
    Ok(())
}

/// The affinity of the device's interrupt.
fn affinity_file() -> Result<String> {
    let table = fs::read_to_string("/proc/interrupts")?;
    let line = table.lines().find(|line| line.contains("vfio-msi"));
    let number = line.and_then(|line| line.split(':').next());
    let number = number.context("no interrupt of VFIO's")?.trim();
    Ok(format!("/proc/irq/{number}/smp_affinity"))
}

/// Two guests on a CPU, with the same vector: each sees its own interrupts only.
pub(super) fn two_guests() -> Result<()> {
    let mut program = start();
    ask_for(&mut program, COUNT);
    let mut first = Scene::new(&program)?;
    let mut second = Scene::with_device(1, &program)?;
    let (ours, theirs) = (first.attach()?, second.attach()?);
    first.arm(&ours, 0)?;
    expect_refusal(second.arm(&theirs, 0), Refusal::CpuTaken)?;
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            pin(None, cpus()[0])?;
            second.exits()
        });
        let exits = first.exits()?;
        let others = other
            .join()
            .map_err(|_| anyhow!("the other guest is gone"))??;
        println!("# two_guests: {exits:?}, {others:?}");
        expect_ordinary(others)
    })?;
    print("two_guests", &ours)?;
    expect_seen(&first, COUNT)?;
    expect_seen(&second, COUNT)
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Several vectors, several vCPUs, and vCPUs that halt.

use std::sync::mpsc;
use std::thread;

use anyhow::{anyhow, ensure, Context, Result};
use exitless_vectors::uapi::EXITLESS_UNWATCHED;
use kvm_bindings::{kvm_enable_cap, KVM_CAP_X86_DISABLE_EXITS, KVM_X86_DISABLE_EXITS_HLT};
use module_tests::verdict::Skip;
use rawguest::Machine;

use super::{exits_of, expect_direct, expect_ordinary, expect_seen, print, COUNT};
use crate::exitless::Exitless;
use crate::guest::{ask_and_halt, ask_and_leave, ask_for, ask_in_turn, handler_of, seen, start};
use crate::hpet;
use crate::scene::{cpus, pin, route_all, run_to_mark, Exits, Line, Scene, VECTORS};

/// The place of a machine's second device, whose number is the same.
const SECOND: u32 = 1;

/// Two devices, each with a vector of its own, and one vCPU.
pub(super) fn two_vectors() -> Result<()> {
    let mut program = start();
    ask_in_turn(&mut program, &[0, SECOND], COUNT);
    let mut scene = Scene::new(&program)?;
    let line = second_line(&scene.machine, 0)?;
    let exitless = scene.attach()?;
    scene.arm(&exitless, 0)?;
    line.arm(&exitless, scene.flags(0))?;
    let exits = scene.exits()?;
    println!("# two_vectors: {exits:?}");
    print("two_vectors", &exitless)?;
    expect_seen(&scene, COUNT)?;
    expect_seen_of_second(&scene)?;
    expect_direct(exits, &exitless)
}

/// Two vCPUs of a VM, each on a CPU of its own and with a device of its own.
pub(super) fn two_vcpus() -> Result<()> {
    let &[_, other_cpu, ..] = cpus() else {
        return Err(Skip("there is one CPU".to_owned()).into());
    };
    let mut program = start();
    ask_for(&mut program, COUNT);
    let mut scene = Scene::new(&program)?;
    let line = second_line(&scene.machine, 1)?;
    let mut others = start();
    ask_in_turn(&mut others, &[SECOND], COUNT);
    let mut vcpu = scene.machine.add_vcpu(&others)?;
    let exitless = scene.attach()?;
    let (tell, told) = mpsc::channel();
    let (start_it, started) = mpsc::channel();
    let exits = thread::scope(|scope| {
        let other = scope.spawn(move || {
            pin(None, other_cpu)?;
            run_to_mark(&mut vcpu)?;
            tell.send(()).context("nobody waits")?;
            started.recv().context("it is not to start")?;
            run_to_mark(&mut vcpu)
        });
        told.recv().context("the other vCPU is gone")?;
        // Of two CPUs, neither can watch the other.
        scene.arm(&exitless, EXITLESS_UNWATCHED)?;
        line.arm(&exitless, EXITLESS_UNWATCHED)?;
        start_it.send(()).context("the other vCPU is gone")?;
        let exits = scene.exits_while(|| {
            let ended = other.join();
            ended.map_err(|_| anyhow!("the other vCPU is gone"))?
        })?;
        anyhow::Ok(exits)
    })?;
    println!("# two_vcpus: {exits:?}");
    print("two_vcpus", &exitless)?;
    expect_seen(&scene, COUNT)?;
    expect_seen_of_second(&scene)?;
    expect_direct(exits, &exitless)
}

/// A vCPU whose halts are no exits is woken by its interrupt itself.
pub(super) fn halts() -> Result<()> {
    let machine = Machine::with_local_apics()?;
    let halts_without_exit = kvm_enable_cap {
        cap: KVM_CAP_X86_DISABLE_EXITS,
        args: [KVM_X86_DISABLE_EXITS_HLT.into(), 0, 0, 0],
        ..Default::default()
    };
    machine
        .fd()
        .enable_cap(&halts_without_exit)
        .context("KVM_CAP_X86_DISABLE_EXITS")?;
    let (exits, exitless) = exits_while_halting("halts", machine, hpet::SOON)?;
    expect_direct(exits, &exitless)
}

/// A vCPU that KVM has halted does not run: its interrupts are injected, and wake it.
pub(super) fn halts_in_kvm() -> Result<()> {
    let machine = Machine::with_local_apics()?;
    let (exits, _) = exits_while_halting("halts_in_kvm", machine, hpet::LATER)?;
    expect_ordinary(exits)
}

fn exits_while_halting(name: &str, machine: Machine, soon: i32) -> Result<(Exits, Exitless)> {
    let mut program = start();
    ask_and_halt(&mut program, COUNT, soon);
    exits_of(name, Scene::on(cpus()[0], machine, 0, &program)?, Some(0))
}

/// The guest is destroyed with an interrupt pending; the next one is well.
pub(super) fn destroyed() -> Result<()> {
    for _ in 0..10 {
        let mut program = start();
        ask_and_leave(&mut program);
        let mut scene = Scene::new(&program)?;
        let exitless = scene.attach()?;
        scene.arm(&exitless, 0)?;
        scene.run_to_mark()?;
        expect_seen(&scene, 0)?;
    }
    let (exits, exitless) = super::exits("destroyed", Some(0))?;
    expect_direct(exits, &exitless)
}

/// The second device, whose interrupt is the second vector of this vCPU.
fn second_line(machine: &Machine, vcpu: u32) -> Result<Line> {
    machine.add_handler(VECTORS[1], &handler_of(SECOND))?;
    route_all(machine, &[(VECTORS[0], 0), (VECTORS[1], vcpu)])?;
    Line::new(machine, SECOND as usize, SECOND)
}

fn expect_seen_of_second(scene: &Scene) -> Result<()> {
    let seen: u64 = scene.machine.ram().load(seen(SECOND).into())?;
    ensure!(seen == u64::from(COUNT), "{seen} of {COUNT} of the second");
    Ok(())
}

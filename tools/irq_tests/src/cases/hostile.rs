// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Guests that do what they should not, and a VMM that is killed.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{anyhow, bail, ensure, Context, Result};
use exitless_vectors::refusal::Refusal;
use module_tests::verdict::Skip;
use rawguest::Exit;

use super::{exits, expect_direct, expect_ordinary, expect_refusal, expect_seen, print, COUNT};
use crate::exitless::Exitless;
use crate::guest::{
    ask_and_postpone, ask_for, end_nothing, endless_handler, interrupt_itself, load_idt,
    other_handler, reload_idt, start, wait_with_interrupts_off, IDTR, OTHER_SEEN, RELEASE, SEEN,
    SOFTWARE_SEEN,
};
use crate::host;
use crate::scene::{unpin, Exits, Scene, GSI, VECTORS};
use crate::VICTIM;

/// EOIs when nothing is in service change nothing, and are no exits.
pub(super) fn needless_eois() -> Result<()> {
    let mut program = start();
    end_nothing(&mut program, 100_000);
    ask_for(&mut program, COUNT);
    let mut scene = Scene::new(&program)?;
    let exitless = scene.attach()?;
    scene.arm(&exitless, 0)?;
    expect_direct(scene.exits()?, &exitless)?;
    expect_seen(&scene, COUNT)
}

/// The guest's own priority keeps an interrupt off until it is lower. The guest has had others before, so
/// that raising it is all that can end its run.
pub(super) fn priority() -> Result<()> {
    let mut program = start();
    ask_for(&mut program, COUNT);
    ask_and_postpone(&mut program);
    let mut scene = Scene::new(&program)?;
    let exitless = scene.attach()?;
    scene.arm(&exitless, 0)?;
    expect_direct(scene.exits()?, &exitless)?;
    let exits = scene.exits()?;
    println!("# priority: until raised {exits:?}");
    expect_seen(&scene, COUNT)?;
    scene.run_to_mark()?;
    expect_seen(&scene, COUNT + 1)
}

/// The guest sees its own limit, and goes on directly with what it loads.
pub(super) fn idt_registers() -> Result<()> {
    let mut program = start();
    ask_for(&mut program, COUNT);
    reload_idt(&mut program);
    ask_for(&mut program, COUNT);
    let mut scene = Scene::new(&program)?;
    let exitless = scene.attach()?;
    scene.arm(&exitless, 0)?;
    scene.run_to_mark()?;
    expect_direct(scene.exits()?, &exitless)?;
    let limit: u16 = scene.machine.ram().load(IDTR.into())?;
    ensure!(limit == 0xfff, "limit {limit:#x}");
    expect_seen(&scene, 2 * COUNT)
}

/// `INT n` beyond the limit gets to the guest's handler, each once.
pub(super) fn software_interrupts() -> Result<()> {
    let mut program = start();
    interrupt_itself(&mut program, COUNT);
    ask_for(&mut program, COUNT);
    let mut scene = Scene::new(&program)?;
    let exitless = scene.attach()?;
    scene.arm(&exitless, 0)?;
    scene.run_to_mark()?;
    print("software_interrupts", &exitless)?;
    let seen: u64 = scene.machine.ram().load(SOFTWARE_SEEN.into())?;
    ensure!(seen == u64::from(COUNT), "{seen} of {COUNT}");
    expect_seen(&scene, COUNT)
}

/// The processor or the watchdog ends the runs of a guest that keeps interrupts off, again and again.
pub(super) fn interrupts_off() -> Result<()> {
    const ENOUGH: u64 = 5;
    let (scene, exitless, _) = keep_interrupts_off(|exitless| {
        while exitless.number("overlong")? < ENOUGH {
            thread::yield_now();
        }
        Ok(())
    })?;
    print("interrupts_off", &exitless)?;
    expect_seen(&scene, COUNT)
}

/// A guest that does so on and on no longer runs directly, and the VMM learns why.
pub(super) fn offender() -> Result<()> {
    let (scene, exitless, exits) = keep_interrupts_off(|exitless| {
        exitless.await_line(|line| line == "gsi 24: guest kept interrupts off")
    })?;
    print("offender", &exitless)?;
    expect_ordinary(exits)?;
    expect_seen(&scene, COUNT)?;
    exitless.disarm(GSI).context("disarm")?;
    expect_refusal(scene.arm(&exitless, 0), Refusal::InterruptsOff)
}

/// A guest that keeps interrupts off until `wait`, on another CPU if there is one, has returned, and asks for
/// interrupts then. Its exits in all that time.
fn keep_interrupts_off(
    wait: impl FnOnce(&Exitless) -> Result<()> + Send,
) -> Result<(Scene, Exitless, Exits)> {
    let mut program = start();
    wait_with_interrupts_off(&mut program);
    ask_for(&mut program, COUNT);
    let mut scene = Scene::new(&program)?;
    if scene.is_alone && !host::ends_long_runs()? {
        return Err(Skip("one CPU has nobody to watch it".to_owned()).into());
    }
    let exitless = scene.attach()?;
    scene.arm(&exitless, 0)?;
    let ram = scene.machine.ram().clone();
    let exits = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            unpin(None)?;
            wait(&exitless)?;
            anyhow::Ok(ram.store(RELEASE.into(), 1u32)?)
        });
        let exits = scene.exits()?;
        watcher
            .join()
            .map_err(|_| anyhow!("the watcher is gone"))??;
        anyhow::Ok(exits)
    })?;
    Ok((scene, exitless, exits))
}

/// The next interrupt goes where the IDT says then.
pub(super) fn idt_edited() -> Result<()> {
    let mut program = start();
    ask_for(&mut program, COUNT);
    ask_for(&mut program, COUNT);
    let mut scene = Scene::new(&program)?;
    let exitless = scene.attach()?;
    scene.arm(&exitless, 0)?;
    expect_direct(scene.exits()?, &exitless)?;
    scene.machine.add_handler(VECTORS[0], &other_handler())?;
    expect_direct(scene.exits()?, &exitless)?;
    let others: u64 = scene.machine.ram().load(OTHER_SEEN.into())?;
    ensure!(others == u64::from(COUNT), "{others} at the new gate");
    expect_seen(&scene, COUNT)
}

/// An IDT without the vector: the guest's fault, and the host goes on.
pub(super) fn idt_short() -> Result<()> {
    let end = run_with_idt(0, 0x1_1000)?;
    ensure!(matches!(end, Exit::Shutdown), "{end:?}");
    is_well()
}

/// An IDT where the guest has no memory: KVM gives up on it, and the host goes on.
pub(super) fn idt_gone() -> Result<()> {
    const INTERNAL_ERROR: u32 = 17;
    let end = run_with_idt(0xfff, 0x8000_0000)?;
    ensure!(matches!(end, Exit::Other(INTERNAL_ERROR)), "{end:?}");
    is_well()
}

/// How a guest ends that loads this IDT and asks for an interrupt.
fn run_with_idt(limit: u16, base: u64) -> Result<Exit> {
    let mut program = start();
    load_idt(&mut program);
    ask_for(&mut program, 1);
    let mut scene = Scene::new(&program)?;
    let ram = scene.machine.ram();
    ram.write(IDTR.into(), &limit.to_le_bytes())?;
    ram.write(u64::from(IDTR) + 2, &base.to_le_bytes())?;
    let exitless = scene.attach()?;
    scene.arm(&exitless, 0)?;
    let end = scene.vcpu.run_through_signals()?;
    print("idt", &exitless)?;
    Ok(end)
}

/// The next guest on the CPU gets what it should.
fn is_well() -> Result<()> {
    let (exits, exitless) = exits("next", Some(0))?;
    expect_direct(exits, &exitless)
}

/// The VMM is killed while its guest has an interrupt in service.
pub(super) fn killed() -> Result<()> {
    // It has a thread beside the vCPU's.
    unpin(None)?;
    let mut child = Command::new("/proc/self/exe")
        .args(["--module", "/", VICTIM])
        .stdout(Stdio::piped())
        .spawn()
        .context("the victim")?;
    let seen = wait_for_service(&mut child);
    child.kill().context("kill")?;
    child.wait().context("wait")?;
    seen?;
    is_well()
}

fn wait_for_service(child: &mut Child) -> Result<()> {
    let output = child.stdout.take().context("the victim's output")?;
    for line in BufReader::new(output).lines() {
        match line?.as_str() {
            IN_SERVICE => return Ok(()),
            line => println!("# killed: {line}"),
        }
    }
    bail!("the victim has ended")
}

const IN_SERVICE: &str = "in service";

/// The victim of [`killed`]: its guest never leaves the handler.
pub(crate) fn be_victim() -> Result<()> {
    let mut program = start();
    ask_for(&mut program, 1);
    let mut scene = Scene::new(&program)?;
    scene.machine.add_handler(VECTORS[0], &endless_handler())?;
    let exitless = scene.attach()?;
    scene.arm(&exitless, 0)?;
    let ram = scene.machine.ram().clone();
    thread::spawn(move || {
        unpin(None)?;
        while ram.load::<u64>(SEEN.into())? == 0 {
            thread::yield_now();
        }
        println!("{IN_SERVICE}");
        anyhow::Ok(())
    });
    scene.run_to_mark()
}

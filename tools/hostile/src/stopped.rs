// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A device process that the kernel stops in the middle of a copy, by a page fault that never
//! ends: whatever lock that copy holds, it must not be one that a vCPU waits for.

use std::fs;
use std::sync::mpsc::{self, Sender};
use std::thread;

use anyhow::{bail, ensure, Context, Result};
use module_tests::verdict::Skip;
use rawguest::{Asm, Exit, Kicker, Machine, Mem, Reg, Vcpu, Width};
use shunt::channel::{pair, ChannelEnd, Transport};

use crate::attacker::{Attacker, Role};
use crate::regions::{self, MMIO, SIZE};
use crate::scene::or_die;
use crate::sys::{self, FaultTrap, Mapping};

/// One vCPU's command is what the device stops at; another one makes an access after it.
pub(crate) fn round(transport: Transport) -> Result<()> {
    if let Err(error) = FaultTrap::new() {
        return Err(Skip(format!("no userfaultfd: {error}")).into());
    }
    let machine = Machine::new()?;
    let (kvm_end, device_end) = pair(transport).context("a channel")?;
    let region = regions::region(MMIO, SIZE, 0);
    regions::set(machine.fd(), &region, &ChannelEnd::Frames(kvm_end))?;
    let first = machine.add_vcpu(&read_once())?;
    let second = machine.add_vcpu(&read_once())?;
    let mut attacker = Attacker::start(Role::Stopped, &ChannelEnd::Frames(device_end))?;
    thread::scope(|scope| {
        let first = scope.spawn(move || or_die(until_removed(first, &mpsc::channel().0)));
        or_die(attacker.wait_for_act());
        let (tell, told) = mpsc::channel();
        let second = scope.spawn(move || or_die(until_removed(second, &tell)));
        let Ok(Told::Runs(thread, kicker)) = told.recv() else {
            bail!("the second vCPU does not run");
        };
        or_die(wait_until_asleep(thread));
        kicker.kick();
        // A signal ends its wait, as for any device that hangs.
        let Ok(Told::Interrupted) = told.recv() else {
            bail!("the second vCPU was not interrupted");
        };
        or_die(regions::remove(machine.fd(), &region));
        for vcpu in [first, second] {
            vcpu.join()
                .map_err(|_| anyhow::anyhow!("a vCPU's thread panicked"))?;
        }
        attacker.kill()
    })
}

/// What a vCPU's thread has to say.
enum Told {
    Runs(libc::pid_t, Kicker),
    Interrupted,
}

fn read_once() -> Asm {
    let mut program = Asm::long();
    program
        .mov(Reg::Bx, MMIO)
        .load(Width::Long, Reg::Ax, Mem::At(Reg::Bx))
        .halt();
    program
}

/// Runs until the region is removed.
fn until_removed(mut vcpu: Vcpu, tell: &Sender<Told>) -> Result<()> {
    // Nobody listens to the first vCPU.
    let _ = tell.send(Told::Runs(
        sys::this_thread(),
        Kicker::for_this_thread(&vcpu)?,
    ));
    loop {
        match vcpu.run()? {
            Exit::Interrupted => tell.send(Told::Interrupted)?,
            Exit::Failure(failure) => {
                let error = failure.details.error;
                ensure!(error == libc::ECANCELED, "got {failure:x?}");
                return Ok(());
            }
            other => bail!("got {other:x?}"),
        }
    }
}

/// Returns when the thread sleeps in a system call; a vCPU's makes no other than `KVM_RUN`.
fn wait_until_asleep(thread: libc::pid_t) -> Result<()> {
    let path = format!("/proc/self/task/{thread}/syscall");
    loop {
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        if text.contains(" 0xae80 ") {
            return Ok(());
        }
        thread::yield_now();
    }
}

/// The device process: reads a command into a page that is never there.
pub(crate) fn play() -> Result<()> {
    let trap = FaultTrap::new().context("userfaultfd")?;
    let (protection, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    let page = Mapping::new(-1, 0, 4096, protection, flags).context("map a page")?;
    trap.set(&page).context("UFFDIO_REGISTER")?;
    thread::scope(|scope| {
        scope.spawn(|| {
            or_die(trap.wait());
            crate::attacker::report_act();
        });
        let read = page.read_into(libc::STDIN_FILENO);
        anyhow::bail!("the copy ended: {read:?}")
    })
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A guest in this thread and its device in another.

use std::os::fd::{AsFd, OwnedFd};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;

use anyhow::{ensure, Context, Result};
use ioregion_wire::frame::Command;
use rawguest::{Exit, Kicker, Vcpu};

use crate::channel::{self, DeviceEnd};
use crate::guest::expect_halt;
use crate::tasks;

/// Whether signals hit the vCPU while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signals {
    /// None.
    None,
    /// The device answers each command only after a signal has brought the vCPU back to
    /// userspace.
    EachCommand,
}

/// Both.
pub(crate) const SIGNALS: [Signals; 2] = [Signals::None, Signals::EachCommand];

/// The vCPU's side of a play.
pub(crate) struct Driver<'a> {
    pub(crate) vcpu: &'a mut Vcpu,
    interrupted: Option<Sender<()>>,
}

impl Driver<'_> {
    /// Runs until something other than a signal stops the vCPU.
    pub(crate) fn run(&mut self) -> Result<Exit> {
        loop {
            match self.vcpu.run()? {
                Exit::Interrupted => {
                    let sender = self.interrupted.as_ref().context("a signal nobody sent")?;
                    sender.send(()).context("the device is gone")?;
                }
                exit => return Ok(exit),
            }
        }
    }
}

/// Runs `guest` here while a device answers each command that wants it with `answer`.
/// Returns what `guest` returned, and all commands in order.
pub(crate) fn play<T>(
    vcpu: &mut Vcpu,
    device: &mut DeviceEnd,
    signals: Signals,
    mut answer: impl FnMut(&Command) -> Result<u64> + Send,
    guest: impl FnOnce(&mut Driver) -> Result<T>,
) -> Result<(T, Vec<Command>)> {
    let (interrupted, interruptions) = mpsc::channel();
    let kicker = match signals {
        Signals::None => None,
        Signals::EachCommand => Some(Kicker::for_this_thread(vcpu)?),
    };
    let answer = move |command: &Command| {
        if let Some(kicker) = kicker.filter(|_| command.expects_reply) {
            kicker.kick();
            interruptions.recv().context("the vCPU is gone")?;
        }
        answer(command)
    };
    let mut driver = Driver {
        vcpu,
        interrupted: kicker.map(|_| interrupted),
    };
    with_device(device, answer, || guest(&mut driver))
}

/// Runs the guest to its end while a device answers each command that wants it with `answer`.
/// Returns all commands in order.
pub(crate) fn play_to_the_end(
    vcpu: &mut Vcpu,
    device: &mut DeviceEnd,
    signals: Signals,
    answer: impl FnMut(&Command) -> Result<u64> + Send,
) -> Result<Vec<Command>> {
    let (exit, log) = play(vcpu, device, signals, answer, |driver| driver.run())?;
    expect_halt(&exit)?;
    Ok(log)
}

/// Runs `work` here while a device answers in another thread. The device stops when `work` is
/// done and no command is left.
pub(crate) fn with_device<T>(
    device: &mut DeviceEnd,
    answer: impl FnMut(&Command) -> Result<u64> + Send,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Vec<Command>)> {
    let (stop, stopper) = channel::pipe()?;
    thread::scope(|scope| {
        let server = scope.spawn(move || or_die(serve(device, stop, answer)));
        let result = work();
        drop(stopper);
        let log = server
            .join()
            .map_err(|_| anyhow::anyhow!("the device panicked"))?;
        Ok((result?, log))
    })
}

fn serve(
    device: &mut DeviceEnd,
    stop: OwnedFd,
    mut answer: impl FnMut(&Command) -> Result<u64>,
) -> Result<Vec<Command>> {
    let mut log = Vec::new();
    while device.wait_for_command(stop.as_fd())? {
        let Some(command) = device.next()? else {
            break;
        };
        let data = answer(&command)?;
        log.push(command);
        if command.expects_reply {
            device.reply(data)?;
        }
    }
    Ok(log)
}

/// A vCPU that runs in a thread of its own.
pub(crate) struct Running<'a> {
    thread: libc::pid_t,
    kicker: Kicker,
    returned: &'a AtomicBool,
}

impl Running<'_> {
    /// Returns when the vCPU waits for its device.
    pub(crate) fn wait_until_asleep(&self) -> Result<()> {
        tasks::wait_until_asleep(self.thread)
    }

    /// Sends it a signal.
    pub(crate) fn kick(&self) {
        self.kicker.kick();
    }

    /// Whether `KVM_RUN` has returned.
    pub(crate) fn has_returned(&self) -> bool {
        self.returned.load(Ordering::SeqCst)
    }

    /// Fails the test when `KVM_RUN` has returned.
    pub(crate) fn expect_waiting(&self) -> Result<()> {
        ensure!(!self.has_returned(), "the vCPU did not wait for the device");
        Ok(())
    }
}

/// One `KVM_RUN` in another thread, while `work` plays the device and the VMM here. Returns what
/// both returned.
pub(crate) fn while_running<T>(
    vcpu: &mut Vcpu,
    work: impl FnOnce(&Running) -> Result<T>,
) -> Result<(Exit, T)> {
    let returned = &AtomicBool::new(false);
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        let runner = scope.spawn(move || -> Result<Exit> {
            sender.send((tasks::this_thread(), Kicker::for_this_thread(vcpu)?))?;
            let exit = vcpu.run();
            returned.store(true, Ordering::SeqCst);
            Ok(exit?)
        });
        let (thread, kicker) = receiver.recv().context("the vCPU's thread is gone")?;
        let done = or_die(work(&Running {
            thread,
            kicker,
            returned,
        }));
        let exit = runner
            .join()
            .map_err(|_| anyhow::anyhow!("the vCPU's thread panicked"))??;
        Ok((exit, done))
    })
}

/// The value, or else the end of the test: for threads on which a vCPU in `KVM_RUN` depends,
/// so that a mistake shows itself and not a hang.
pub(crate) fn or_die<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        process::exit(1)
    })
}

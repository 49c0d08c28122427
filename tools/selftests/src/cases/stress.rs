// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Everything at once: two vCPUs that never stop reading, in a storm of signals, while regions
//! come and go and devices die.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{ensure, Context as _, Result};
use libc::{ECANCELED, EPIPE};
use rawguest::{Asm, Exit, Kicker, Machine, Mem, Reg, Storm, Vcpu, Width};

use crate::channel::{self, DeviceEnd, Transport, TRANSPORTS};
use crate::check::check_eq;
use crate::guest::mmio_read;
use crate::region::{deassign, mmio, set, MMIO};
use crate::stage::or_die;
use crate::suite::{tests, Context};
use crate::tasks;

tests!("stress", Ioregion, [regions_come_and_go, devices_die]);

const ROUNDS: usize = 50;

/// How a device's life ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The VMM removes its region.
    Removed,
    /// It closes its files, wherever it is; the VMM removes the region after that.
    Dies,
}

/// What became of one vCPU's reads.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Answered by the VMM.
    supplied: u64,
    /// Among these, those that the device had been sent.
    maybe_answered: u64,
}

fn regions_come_and_go(context: &Context) -> Result<()> {
    TRANSPORTS
        .into_iter()
        .try_for_each(|transport| churn(context, transport, Ending::Removed))
}

fn devices_die(context: &Context) -> Result<()> {
    TRANSPORTS
        .into_iter()
        .try_for_each(|transport| churn(context, transport, Ending::Dies))
}

/// Every read gives 1, whoever answers it: device or VMM. So a vCPU's sum counts its reads, and
/// must fit what device and VMM have answered.
fn churn(context: &Context, transport: Transport, ending: Ending) -> Result<()> {
    let interval = context.between_signals();
    let machine = Machine::new()?;
    let mut vcpus = [
        machine.add_vcpu(&endless_reads())?,
        machine.add_vcpu(&endless_reads())?,
    ];
    let stop = AtomicBool::new(false);
    let (answered, tallies) = thread::scope(|scope| {
        let runners = vcpus
            .each_mut()
            .map(|vcpu| scope.spawn(|| or_die(run(vcpu, interval, &stop))));
        let mut answered = 0;
        for round in 0..ROUNDS {
            answered += or_die(one_life(&machine, transport, ending, round));
        }
        stop.store(true, Ordering::SeqCst);
        (answered, runners.map(|runner| runner.join()))
    });
    let (mut reads, mut supplied, mut maybe_answered) = (0, 0, 0);
    for (vcpu, tally) in vcpus.iter().zip(tallies) {
        let tally = tally.map_err(|_| anyhow::anyhow!("a vCPU's thread panicked"))?;
        reads += vcpu.reg(Reg::Si)?;
        supplied += tally.supplied;
        maybe_answered += tally.maybe_answered;
    }
    let accepted = reads
        .checked_sub(supplied)
        .context("the guests saw less than was supplied")?;
    ensure!(
        accepted <= answered && answered <= accepted + maybe_answered,
        "{transport:?}: the devices answered {answered}; the guests took {accepted} answers, and \
         the VMM {maybe_answered} in place of a device that may have answered"
    );
    Ok(())
}

fn endless_reads() -> Asm {
    let mut program = Asm::long();
    program.mov(Reg::Bx, MMIO + 8).endlessly(|body| {
        body.load(Width::Long, Reg::Ax, Mem::At(Reg::Bx))
            .add(Reg::Si, Reg::Ax);
    });
    program
}

/// Runs a vCPU until it is told to stop and has no access under way.
fn run(vcpu: &mut Vcpu, interval: Duration, stop: &AtomicBool) -> Result<Tally> {
    let _storm = Storm::start(Kicker::for_this_thread(vcpu)?, interval)?;
    let mut tally = Tally::default();
    loop {
        match vcpu.run()? {
            Exit::Interrupted => continue,
            Exit::Failure(failure) => {
                let details = failure.details;
                ensure!(
                    [ECANCELED, EPIPE].contains(&details.error),
                    "failure {details:x?}"
                );
                check_eq!(
                    (details.offset, details.size, details.done),
                    (8, 4, 0),
                    "failure"
                );
                let sent = details.flags & ioregion_wire::uapi::IOREGIONFD_FAILURE_SENT != 0;
                tally.maybe_answered += u64::from(sent);
            }
            exit => check_eq!(exit, mmio_read(MMIO + 8, 4), "exit"),
        }
        if stop.load(Ordering::SeqCst) {
            return Ok(tally);
        }
        vcpu.supply(&1u32.to_le_bytes());
        tally.supplied += 1;
    }
}

/// A region with a device from its set-up to its end. Returns how often the device answered.
fn one_life(machine: &Machine, transport: Transport, ending: Ending, round: usize) -> Result<u64> {
    let (end, device) = channel::open_on(machine.fd(), transport)?;
    let region = mmio(MMIO, 0x1000, &end);
    let lifetime = match ending {
        Ending::Removed => usize::MAX,
        Ending::Dies => round % 4 + 1,
    };
    let (alive, news) = mpsc::channel();
    thread::scope(|scope| {
        let server = scope.spawn(move || or_die(serve(device, lifetime, alive)));
        set(machine.fd(), &region).context("set")?;
        drop(end);
        // The region is in use when it goes: one command at least has come.
        news.recv().context("the device is gone")?;
        let join = |server: thread::ScopedJoinHandle<u64>| {
            server
                .join()
                .map_err(|_| anyhow::anyhow!("the device panicked"))
        };
        match ending {
            Ending::Removed => {
                deassign(machine.fd(), &region).context("deassign")?;
                join(server)
            }
            Ending::Dies => {
                let answered = join(server)?;
                deassign(machine.fd(), &region).context("deassign")?;
                Ok(answered)
            }
        }
    })
}

/// Whether a call failed because KVM has let go of the channel, with a reply unread.
fn is_hang_up(error: &anyhow::Error) -> bool {
    let error = error.root_cause().downcast_ref::<io::Error>();
    error.is_some_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
        )
    })
}

/// Answers commands until the channel ends; with `lifetime` commands read, dies without
/// answering the last.
fn serve(mut device: DeviceEnd, lifetime: usize, alive: Sender<()>) -> Result<u64> {
    tasks::spare_from_sigpipe()?;
    let mut answered = 0;
    for n in 1..=lifetime {
        match device.next() {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) if is_hang_up(&error) => break,
            Err(error) => return Err(error),
        }
        if n == 1 {
            alive.send(()).context("the test is gone")?;
        }
        if n == lifetime {
            break;
        }
        match device.reply(1) {
            Ok(()) => answered += 1,
            Err(error) if is_hang_up(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(answered)
}

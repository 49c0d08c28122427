// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `shunt-irq`: exitless interrupts for a VMM that knows nothing of them.

use std::io::{stdout, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use anyhow::{ensure, Context, Result};
use clap::Parser;
use exitless_vectors::uapi::{EXITLESS_DELIVERY_ONLY, EXITLESS_UNWATCHED};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use shunt_irq::exitless::Exitless;
use shunt_irq::interrupts::Interrupts;
use shunt_irq::vmm::Vmm;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// Has all interrupts that devices assigned by VFIO send to a guest of KVM's delivered without
/// exits, until it is interrupted or the VMM ends; then prints where each went, and each vCPU's
/// counters.
///
/// exitless.ko must be loaded.
#[derive(Parser)]
#[command(name = "shunt-irq", version)]
struct Options {
    /// The VMM's process
    #[arg(long)]
    pid: i32,
    /// CPUs for the vCPUs' threads, one each; without it, they have to be on one each already
    #[arg(long, value_delimiter = ',')]
    pin: Vec<usize>,
    /// Guests exit for each EOI, for comparison
    #[arg(long)]
    delivery_only: bool,
    /// Do without another CPU that ends runs in which the guest keeps interrupts off
    #[arg(long)]
    unwatched: bool,
    /// Look ten times a second what the guest has set up since; without it, once
    #[arg(long)]
    follow: bool,
}

/// Time between two looks.
const PERIOD: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

impl Options {
    fn flags(&self) -> u32 {
        let delivery_only = if self.delivery_only {
            EXITLESS_DELIVERY_ONLY
        } else {
            0
        };
        let unwatched = if self.unwatched {
            EXITLESS_UNWATCHED
        } else {
            0
        };
        delivery_only | unwatched
    }

    fn period(&self) -> Option<Timespec> {
        self.follow.then_some(PERIOD)
    }
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shunt-irq: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let (ends, end) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM] {
        pipe::register(signal, end.try_clone()?)?;
    }
    let vmm = Vmm::open(options.pid)?;
    if !options.pin.is_empty() {
        vmm.pin(&options.pin)?;
    }
    let exitless = Exitless::attach(vmm.vm()?.as_raw_fd())?;
    let mut interrupts = Interrupts::new(exitless, options.flags());
    interrupts.look(&vmm)?;
    let armed = interrupts.armed();
    ensure!(armed > 0 || options.follow, "no interrupt is armed");
    println!("{armed} armed in all");
    stdout().flush()?;
    while !one_ends(&vmm, &ends, options.period())? {
        if let Err(error) = interrupts.look(&vmm) {
            // One that is ending has no descriptors.
            if !one_ends(&vmm, &ends, Some(AT_ONCE))? {
                return Err(error);
            }
        }
    }
    println!("{}", interrupts.report()?);
    Ok(())
}

/// Waits, for so long if that is given, for one to be readable or to end; whether one is or has.
fn one_ends(one: &impl AsFd, other: &impl AsFd, limit: Option<Timespec>) -> Result<bool> {
    let mut both = [
        PollFd::new(one, PollFlags::IN),
        PollFd::new(other, PollFlags::IN),
    ];
    loop {
        match poll(&mut both, limit.as_ref()) {
            Err(Errno::INTR) => {}
            result => return result.map(|ready| ready > 0).context("poll"),
        }
    }
}

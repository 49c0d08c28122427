// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `shunt-irq`: exitless interrupts for a VMM that knows nothing of them.

use std::io::{stdout, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use anyhow::{ensure, Context, Result};
use clap::Parser;
use exitless_vectors::refusal::Refusal;
use exitless_vectors::uapi::{EXITLESS_DELIVERY_ONLY, EXITLESS_UNWATCHED};
use rustix::event::{poll, PollFd, PollFlags};
use rustix::io::Errno;
use shunt_irq::exitless::{Exitless, Refused};
use shunt_irq::vmm::Vmm;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// Has all interrupts that devices assigned by VFIO send to a guest of KVM's delivered without
/// exits, until it is interrupted or the VMM ends; then prints where each went, and each vCPU's
/// counters.
///
/// It takes the interrupts that the guest has set up when it starts. exitless.ko must be loaded.
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
}

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
    arm_all(&exitless, &vmm, options.flags())?;
    stdout().flush()?;
    wait_for_either(&vmm, &ends)?;
    println!("{}", exitless.report()?);
    Ok(())
}

/// Arms whatever is a device's interrupt, and says what became of each.
fn arm_all(exitless: &Exitless, vmm: &Vmm, flags: u32) -> Result<()> {
    let mut armed = 0;
    for eventfd in vmm.eventfds()? {
        match exitless.arm(eventfd.as_raw_fd(), flags) {
            Ok(gsi) => {
                println!("gsi {gsi} armed");
                armed += 1;
            }
            Err(refused) if is_no_interrupt(&refused) => {}
            Err(refused) => println!("refused: {refused}"),
        }
    }
    ensure!(armed > 0, "no interrupt is armed");
    println!("{armed} armed in all");
    Ok(())
}

/// Most eventfds of a VMM have nothing to do with devices, and one may have two descriptors.
fn is_no_interrupt(refused: &Refused) -> bool {
    let none = [Refusal::NotAssigned, Refusal::NoRoute];
    refused
        .refusal()
        .is_some_and(|refusal| none.contains(&refusal))
        || refused.error.raw_os_error() == Some(Errno::EXIST.raw_os_error())
}

/// Returns when one of them is readable, or has ended.
fn wait_for_either(one: &impl AsFd, other: &impl AsFd) -> Result<()> {
    let mut both = [
        PollFd::new(one, PollFlags::IN),
        PollFd::new(other, PollFlags::IN),
    ];
    loop {
        match poll(&mut both, None) {
            Err(Errno::INTR) => {}
            result => return result.map(drop).context("poll"),
        }
    }
}

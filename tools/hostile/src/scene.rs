// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A VM under attack, and an honest VMM: what it must be told, and what must go on.
//!
//! ```text
//! vCPU 0, 1   victims     three regions over one channel, to the attacker; later to an honest
//!                         device
//! vCPU 2      bystander   a region of its own, to an honest device all the time
//! ```

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use fastrand::Rng;
use ioregion_wire::frame::{Command, Reply, FRAME_SIZE};
use ioregion_wire::uapi::KvmIoregion;
use kvm_ioctls::VmFd;
use libc::{MAP_ANONYMOUS, MAP_SHARED, PROT_READ, PROT_WRITE};
use rawguest::{Asm, Exit, Kicker, Machine, Mem, Memory, Reg, Storm, Vcpu, Width};
use shunt::channel::{pair, ChannelEnd, Transport};
use shunt::ioregion::create_channel;
use shunt::ring_channel::RingChannel;

use crate::attacker::Attacker;
use crate::regions::{self, access_somewhere, ASIDE, MMIO, SIZE};
use crate::sys::{self, Mapping};
use crate::tally::Tally;

/// Victims, and so vCPUs with an interest in the attacker.
pub(crate) const VICTIMS: usize = 2;
/// Where victims look whether they may stop accessing at random.
const FLAG: u32 = rawguest::ram::DATA as u32;
/// What the honest device answers.
const ANSWER: u64 = 0x0102_0304;
/// Reads that a victim must complete through the honest device.
const READS_AFTER: u32 = 64;
/// Reads of the bystander.
const READS_ASIDE: u32 = 400;

/// What carries the accesses to the attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Shared memory.
    Ring,
    /// Frames.
    Frames(Transport),
}

/// Attacks once: until the attacker is gone, replaced, and every vCPU has come to its end.
pub(crate) fn round(way: Way, rng: &mut Rng) -> Result<Tally> {
    let machine = Machine::new()?;
    let regions = regions::victims();
    let device_end = attach(&machine, &regions, way, rng)?;
    let victims = (0..VICTIMS)
        .map(|_| Ok(machine.add_vcpu(&victims_program(rng))?))
        .collect::<Result<Vec<Vcpu>>>()?;
    let storms: Vec<bool> = (0..VICTIMS).map(|_| rng.bool()).collect();
    let aside = Aside::new(&machine, way, rng)?;
    let attacker = Attacker::device(way, &device_end, rng)?;
    drop(device_end);
    let gone = AtomicBool::new(false);
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let run = |(vcpu, storm)| {
            let (tell, gone) = (tell.clone(), &gone);
            scope.spawn(move || or_die(victim(vcpu, storm, gone, &tell)))
        };
        let victims: Vec<_> = victims.into_iter().zip(storms).map(run).collect();
        let aside = scope.spawn(move || or_die(aside.run()));
        or_die(attacker.end(rng));
        gone.store(true, Ordering::SeqCst);
        for _ in 0..VICTIMS {
            told.recv().context("a victim is gone")?;
        }
        let honest = or_die(replace(&machine, &regions, way, rng));
        let honest = scope.spawn(move || or_die(serve(honest)));
        or_die(let_go(machine.ram()));
        let mut tally = Tally::default();
        for victim in victims {
            tally.add(&joined(victim.join()));
        }
        for region in &regions {
            regions::remove(machine.fd(), region)?;
        }
        joined(honest.join());
        joined(aside.join());
        Ok(tally)
    })
}

fn joined<T>(result: thread::Result<T>) -> T {
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The value, or else the end of the process: for threads on which others wait.
pub(crate) fn or_die<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        std::process::exit(1)
    })
}

/// Adds the regions of the victims, with rules and time-outs or without; the attacker's end of
/// their channel.
fn attach(
    machine: &Machine,
    regions: &[KvmIoregion],
    way: Way,
    rng: &mut Rng,
) -> Result<ChannelEnd> {
    let (kvm_end, device_end) = open(machine.fd(), way, rng)?;
    let timeout_ms = [0, 0, 30][rng.usize(0..3)];
    for region in regions {
        let region = KvmIoregion {
            timeout_ms,
            ..*region
        };
        regions::set(machine.fd(), &region, &kvm_end)?;
    }
    if rng.bool() {
        // KVM pins the pages, so they may be unmapped here.
        let (protection, flags) = (PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
        let registers = Mapping::new(-1, 0, SIZE as usize, protection, flags)?;
        for region in &regions[..2] {
            regions::set_rules(machine.fd(), region, &registers, rng).context("set rules")?;
        }
    }
    Ok(device_end)
}

/// KVM's end and the device's.
fn open(vm: &VmFd, way: Way, rng: &mut Rng) -> Result<(ChannelEnd, ChannelEnd)> {
    match way {
        Way::Frames(transport) => {
            let (kvm, device) = pair(transport).context("a channel")?;
            Ok((ChannelEnd::Frames(kvm), ChannelEnd::Frames(device)))
        }
        Way::Ring => {
            let slots = 1 << rng.u32(0..8);
            let channel = create_channel(vm, slots, 3).context("KVM_CREATE_IOREGION_CHANNEL")?;
            let other = channel.try_clone().context("dup")?;
            Ok((ChannelEnd::Ring(channel), ChannelEnd::Ring(other)))
        }
    }
}

/// Accesses everywhere until the flag is set; then reads, whose sum is in Si.
fn victims_program(rng: &mut Rng) -> Asm {
    let mut program = Asm::long();
    program.repeat_until_set(Mem::Ram(FLAG), |body| {
        for _ in 0..8 {
            access_somewhere(body, rng);
        }
    });
    program.zero(Reg::Si);
    sum_of_reads(&mut program, MMIO, READS_AFTER);
    program
}

fn sum_of_reads(program: &mut Asm, address: u64, count: u32) {
    program
        .mov(Reg::Bx, address)
        .repeat(count, |body| {
            body.zero(Reg::Ax)
                .load(Width::Long, Reg::Ax, Mem::At(Reg::Bx))
                .add(Reg::Si, Reg::Ax);
        })
        .halt();
}

fn let_go(ram: &Memory) -> Result<()> {
    Ok(ram.store(FLAG.into(), 1u32)?)
}

/// Runs a victim to its end. The VMM completes what the device does not, and tells when it was
/// told that the device is gone.
fn victim(mut vcpu: Vcpu, storm: bool, gone: &AtomicBool, tell: &Sender<()>) -> Result<Tally> {
    let _storm = match storm {
        true => Some(Storm::start(
            Kicker::for_this_thread(&vcpu)?,
            Duration::from_micros(700),
        )?),
        false => None,
    };
    let mut tally = Tally::default();
    let mut has_told = false;
    loop {
        // Before the access, so that its failure tells of the end of the device.
        let is_gone = gone.load(Ordering::SeqCst);
        match vcpu.run()? {
            Exit::Failure(failure) => {
                let details = failure.details;
                tally
                    .count(details.error)
                    .with_context(|| format!("{details:x?}"))?;
                vcpu.supply_from(details.done as usize, &[0; 8]);
                if is_gone && !has_told {
                    has_told = true;
                    tell.send(()).context("the VMM is gone")?;
                }
            }
            Exit::Access(_) => vcpu.supply(&[0; 8]),
            Exit::Interrupted => {}
            Exit::Halt => break,
            other => bail!("a victim got {other:x?}"),
        }
    }
    expect_sum(&vcpu, READS_AFTER).context("a victim, with an honest device")?;
    Ok(tally)
}

fn expect_sum(vcpu: &Vcpu, reads: u32) -> Result<()> {
    let (sum, want) = (vcpu.reg(Reg::Si)?, u64::from(reads) * ANSWER);
    ensure!(sum == want, "sum of {reads} reads {sum:#x}, want {want:#x}");
    Ok(())
}

/// Gives the regions a fresh channel; the device's end of it.
fn replace(
    machine: &Machine,
    regions: &[KvmIoregion],
    way: Way,
    rng: &mut Rng,
) -> Result<ChannelEnd> {
    let (kvm_end, device_end) = open(machine.fd(), way, rng)?;
    for region in regions {
        regions::remove(machine.fd(), region).context("it failed")?;
        regions::set(machine.fd(), region, &kvm_end).context("again")?;
    }
    Ok(device_end)
}

/// An honest device, until KVM lets go of the channel.
fn serve(end: ChannelEnd) -> Result<()> {
    match end {
        ChannelEnd::Ring(channel) => {
            let channel = RingChannel::open(channel).context("open a ring")?;
            Ok(channel.serve(|_| Reply { data: ANSWER })?)
        }
        ChannelEnd::Frames(end) => {
            let (commands, replies) = (end.read_fd().as_raw_fd(), end.write_fd().as_raw_fd());
            let mut frame = [0; FRAME_SIZE];
            while let Ok(FRAME_SIZE) = sys::read_some(commands, &mut frame) {
                let command = Command::decode(&frame)
                    .map_err(|bad| anyhow::anyhow!("KVM sent {frame:x?}: {bad:?}"))?;
                if command.expects_reply {
                    let reply = Reply { data: ANSWER }.encode();
                    // KVM's end may be gone; then so is the next command.
                    let _ = sys::write_some(replies, &reply);
                }
            }
            Ok(())
        }
    }
}

/// A device and a vCPU that have nothing to do with the attacker.
struct Aside<'a> {
    vm: &'a VmFd,
    region: KvmIoregion,
    device_end: ChannelEnd,
    vcpu: Vcpu,
}

impl<'a> Aside<'a> {
    fn new(machine: &'a Machine, way: Way, rng: &mut Rng) -> Result<Self> {
        let region = regions::region(ASIDE, SIZE, 0);
        let (kvm_end, device_end) = open(machine.fd(), way, rng)?;
        regions::set(machine.fd(), &region, &kvm_end).context("the bystander's region")?;
        let mut program = Asm::long();
        sum_of_reads(&mut program, ASIDE, READS_ASIDE);
        Ok(Self {
            vm: machine.fd(),
            region,
            device_end,
            vcpu: machine.add_vcpu(&program)?,
        })
    }

    fn run(self) -> Result<()> {
        let (device_end, mut vcpu) = (self.device_end, self.vcpu);
        thread::scope(|scope| {
            let device = scope.spawn(move || or_die(serve(device_end)));
            // The device is there until its region is removed.
            or_die(reads_aside(&mut vcpu).context("the bystander"));
            regions::remove(self.vm, &self.region).context("the bystander's region")?;
            joined(device.join());
            Ok(())
        })
    }
}

/// The bystander's reads, which are all answered, and rightly.
fn reads_aside(vcpu: &mut Vcpu) -> Result<()> {
    let exit = vcpu.run()?;
    ensure!(exit == Exit::Halt, "{exit:x?}");
    expect_sum(vcpu, READS_ASIDE)
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A hostile VMM: threads that call whatever they like on one VM, while its vCPUs access the
//! regions that come and go. It ends at any time, with everything open.

mod arguments;
mod calls;

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result};
use fastrand::Rng;
use libc::{MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE};
use rawguest::{Asm, Machine, Mem, Vcpu};

use crate::attacker::{report_act, ACTS};
use crate::regions::access_somewhere;
use crate::sys::{self, Mapping};
use calls::Calls;

/// vCPUs that run.
const VCPUS: usize = 2;
/// Threads that make calls; this one is one more.
const CALLERS: usize = 2;
/// Bytes that become memory slots and registers of rules.
const MEMORY: usize = 16 * 4096;
/// `_IO(KVMIO, 0x80)`.
const KVM_RUN: u32 = 0xae80;

/// What the threads share.
struct Target {
    vm: RawFd,
    vcpus: Vec<RawFd>,
    /// `struct kvm_run` of each, once more.
    runs: Vec<Mapping>,
    memory: Mapping,
    /// The file of debugfs that shows the regions' counters.
    counters: String,
    /// Numbers of descriptors that anybody may use and close.
    files: Mutex<Vec<RawFd>>,
}

/// Attacks until this thread's acts are done.
pub(crate) fn play(mut rng: Rng) -> Result<()> {
    let machine = Machine::new()?;
    let vcpus = (0..VCPUS)
        .map(|_| Ok(machine.add_vcpu(&endless(&mut rng))?))
        .collect::<Result<Vec<Vcpu>>>()?;
    let target = Target::new(&machine, &vcpus)?;
    thread::scope(|scope| {
        for vcpu in &target.vcpus {
            let rng = rng.fork();
            scope.spawn(move || run(*vcpu, rng));
        }
        for _ in 0..CALLERS {
            let calls = Calls::new(&target, rng.fork());
            scope.spawn(move || call_forever(calls));
        }
        attack(Calls::new(&target, rng.fork()));
        // The others are in the middle of something.
        sys::exit_now(0)
    })
}

impl Target {
    fn new(machine: &Machine, vcpus: &[Vcpu]) -> Result<Self> {
        let size = machine.fd().run_size();
        let map = |vcpu: &Vcpu| {
            let protection = PROT_READ | PROT_WRITE;
            Mapping::new(vcpu.as_raw_fd(), 0, size, protection, MAP_SHARED)
        };
        let runs = vcpus.iter().map(map).collect::<Result<_, _>>();
        let (protection, flags) = (PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
        let (process, vm) = (std::process::id(), machine.fd().as_raw_fd());
        Ok(Self {
            counters: format!("/sys/kernel/debug/kvm/{process}-{vm}/ioregion"),
            vm: machine.fd().as_raw_fd(),
            vcpus: vcpus.iter().map(AsRawFd::as_raw_fd).collect(),
            runs: runs.context("map kvm_run")?,
            memory: Mapping::new(-1, 0, MEMORY, protection, flags).context("map memory")?,
            files: Mutex::new(Vec::new()),
        })
    }
}

/// A guest that accesses the regions' addresses and does not end.
fn endless(rng: &mut Rng) -> Asm {
    const NEVER: Mem = Mem::Ram(rawguest::ram::DATA as u32);
    let mut program = Asm::long();
    program.repeat_until_set(NEVER, |body| {
        for _ in 0..12 {
            access_somewhere(body, rng);
        }
    });
    program
}

/// Runs a vCPU, whatever comes of it. A signal ends each wait for a device.
fn run(vcpu: RawFd, mut rng: Rng) {
    or_leave(sys::never_block_for_long());
    loop {
        let _ = sys::ioctl_number(vcpu, KVM_RUN, 0);
        if rng.u32(0..16) == 0 {
            thread::yield_now();
        }
    }
}

fn call_forever(mut calls: Calls) {
    or_leave(sys::never_block_for_long());
    loop {
        or_leave(calls.act());
    }
}

fn attack(mut calls: Calls) {
    or_leave(sys::never_block_for_long());
    for _ in 0..ACTS {
        or_leave(calls.act());
        report_act();
    }
}

/// A mistake of the attacker's own ends it.
fn or_leave<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        sys::exit_now(1)
    })
}

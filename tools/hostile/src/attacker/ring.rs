// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A device with a channel in shared memory that writes into it what it likes.

use std::fs::OpenOptions;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;

use anyhow::{ensure, Context, Result};
use fastrand::Rng;
use ioregion_ring::layout::{Layout, CONSUMED_AT, ROOM_WANTED_AT, WAKE_ME_AT};
use ioregion_wire::uapi::{
    IOREGION_CHANNEL_DEVICE_AREA, IOREGION_CHANNEL_NO_VCPU, IOREGION_CHANNEL_WAIT,
    IOREGION_CHANNEL_WAKE,
};
use libc::{MAP_PRIVATE, MAP_SHARED, PROT_NONE, PROT_READ, PROT_WRITE};

use super::{acts, report_act, ACTS};
use crate::sys::{self, Mapping};

/// The channel is standard input.
const CHANNEL: RawFd = libc::STDIN_FILENO;
/// Most mappings besides the two that it works with.
const MAPPINGS: usize = 8;

/// Attacks until its acts are done.
pub(super) fn play(rng: Rng) -> Result<()> {
    sys::never_block_for_long()?;
    let mut device = Device::open(rng)?;
    // The first lie that KVM can detect ends the channel.
    let patience = device.rng.u32(0..ACTS);
    for act in 0..ACTS {
        device.lies = act >= patience;
        device.act()?;
        report_act();
    }
    Ok(())
}

struct Device {
    rng: Rng,
    layout: Layout,
    kernel: Mapping,
    own: Mapping,
    /// Accesses taken, whatever it tells KVM.
    taken: u64,
    /// It may tell KVM otherwise.
    lies: bool,
    others: Vec<Mapping>,
    duplicates: Vec<RawFd>,
}

impl Device {
    fn open(rng: Rng) -> Result<Self> {
        let head = Mapping::new(CHANNEL, 0, 4096, PROT_READ, MAP_SHARED).context("map the head")?;
        let layout = Layout::new(head.load(8), head.load(16))
            .map_err(|bad| anyhow::anyhow!("the kernel's area is none: {bad:?}"))?;
        let (at, size) = (IOREGION_CHANNEL_DEVICE_AREA, layout.device_area());
        Ok(Self {
            rng,
            layout,
            kernel: Mapping::new(CHANNEL, 0, layout.kernel_area(), PROT_READ, MAP_SHARED)
                .context("map the kernel's area")?,
            own: Mapping::new(CHANNEL, at, size, PROT_READ | PROT_WRITE, MAP_SHARED)
                .context("map the device's area")?,
            taken: 0,
            lies: false,
            others: Vec::new(),
            duplicates: Vec::new(),
        })
    }

    fn act(&mut self) -> Result<()> {
        match self.rng.u32(0..100) {
            0..25 => self.scribble(),
            25..50 => self.serve(),
            50..65 => self.call(),
            65..80 => self.map(),
            80..85 => self.change_mapping(),
            85..88 => acts::fork(&mut self.rng)?,
            88..91 => acts::duplicate(&mut self.rng, CHANNEL, &mut self.duplicates),
            91..97 => self.break_in()?,
            _ => drop(sys::poll(CHANNEL, self.rng.i16(..))),
        }
        Ok(())
    }

    /// Random bytes, mostly where they matter.
    fn scribble(&mut self) {
        let line = Layout::completion(self.rng.usize(0..self.layout.vcpus()));
        let at = match self.rng.u32(0..8) {
            0 | 1 if self.lies => CONSUMED_AT,
            2 => WAKE_ME_AT,
            3 | 4 => line,
            5 => line + 8,
            _ => self.rng.usize(8..self.own.size()),
        };
        let value = match self.rng.bool() {
            true => acts::number(&mut self.rng),
            false => self.taken.wrapping_add(self.rng.u64(0..5)).wrapping_sub(2),
        };
        match self.rng.u32(0..4) {
            0 => self.own.store(at, &acts::bytes(&mut self.rng, 64)),
            _ => self.own.store(at, &value.to_ne_bytes()),
        }
    }

    /// Takes accesses as it should, and answers them once, twice, or for another vCPU.
    fn serve(&mut self) {
        for _ in 0..self.rng.u32(0..32) {
            let slot = self.layout.slot(self.taken % self.layout.slots() as u64);
            if self.kernel.load(slot) != self.taken + 1 {
                return;
            }
            self.taken += 1;
            let (vcpu, request) = (
                self.kernel.load(slot + 8) >> 32,
                self.kernel.load(slot + 16),
            );
            self.own.store(CONSUMED_AT, &self.taken.to_ne_bytes());
            for _ in 0..self.rng.u32(0..4) {
                self.answer(vcpu, request);
            }
        }
    }

    fn answer(&mut self, vcpu: u64, request: u64) {
        let (vcpu, request) = match self.rng.u32(0..16) {
            0 => (self.rng.u64(0..self.layout.vcpus() as u64), request),
            1 => (
                vcpu,
                request.wrapping_add(self.rng.u64(0..3)).wrapping_sub(1),
            ),
            _ => (vcpu, request),
        };
        let line = Layout::completion(vcpu as usize % self.layout.vcpus());
        self.own.store(line + 8, &self.rng.u64(..).to_ne_bytes());
        self.own.store(line, &request.to_ne_bytes());
        let _ = sys::ioctl_number(CHANNEL, IOREGION_CHANNEL_WAKE, vcpu);
    }

    fn call(&mut self) {
        let number = match self.rng.u32(0..8) {
            0..3 => IOREGION_CHANNEL_WAIT,
            3..6 => IOREGION_CHANNEL_WAKE,
            _ => self.rng.u32(..),
        };
        let argument = match self.rng.u32(0..4) {
            0 => IOREGION_CHANNEL_NO_VCPU.into(),
            1 => acts::number(&mut self.rng),
            _ => self.rng.u64(0..4),
        };
        let _ = sys::ioctl_number(CHANNEL, number, argument);
    }

    /// Maps anything, or gives a mapping up.
    fn map(&mut self) {
        if self.others.len() == MAPPINGS || self.rng.u32(0..3) == 0 {
            if !self.others.is_empty() {
                self.others
                    .swap_remove(self.rng.usize(0..self.others.len()));
            }
            return;
        }
        let at = match self.rng.u32(0..3) {
            0 => 0,
            1 => IOREGION_CHANNEL_DEVICE_AREA,
            _ => acts::number(&mut self.rng) & !4095,
        };
        let pages = self.rng.usize(1..self.kernel.size() / 4096 + 3);
        let protection = self.rng.i32(0..8);
        let flags = [MAP_SHARED, MAP_PRIVATE][self.rng.usize(0..2)];
        let mapping = Mapping::new(CHANNEL, at, 4096 * pages, protection, flags);
        self.others.extend(mapping);
    }

    fn change_mapping(&mut self) {
        const ADVICE: [i32; 6] = [
            libc::MADV_DONTNEED,
            libc::MADV_DONTFORK,
            libc::MADV_DOFORK,
            libc::MADV_WILLNEED,
            libc::MADV_REMOVE,
            libc::MADV_FREE,
        ];
        let (protection, advice) = (self.rng.i32(0..8), ADVICE[self.rng.usize(0..6)]);
        let size = 4096 * self.rng.usize(1..64);
        let Some(mapping) = self.rng.choice(&mut self.others) else {
            return;
        };
        // Refusals are as good as successes here.
        let _ = match size % 3 {
            0 => mapping.protect(protection),
            1 => mapping.advise(advice),
            _ => mapping.resize(size),
        };
    }

    /// Tries to write the kernel's area, in every way there is.
    fn break_in(&mut self) -> Result<()> {
        let kernel = &self.kernel;
        let room_wanted = kernel.load(ROOM_WANTED_AT) | 1 << 40;
        match self.rng.u32(0..5) {
            0 => ensure!(
                kernel.protect(PROT_READ | PROT_WRITE).is_err(),
                "the kernel's area can be made writable"
            ),
            1 => {
                let zero = OpenOptions::new().read(true).open("/dev/zero")?;
                ensure!(
                    kernel.read_into(zero.as_raw_fd()).is_err(),
                    "a system call writes to the kernel's area"
                );
            }
            2 => ensure!(
                kernel
                    .try_store(ROOM_WANTED_AT, &room_wanted.to_ne_bytes())
                    .is_err(),
                "process_vm_writev writes to the kernel's area"
            ),
            3 => {
                let memory = OpenOptions::new().write(true).open("/proc/self/mem")?;
                let at = kernel.address() + ROOM_WANTED_AT as u64;
                ensure!(
                    memory.write_at(&room_wanted.to_ne_bytes(), at).is_err(),
                    "/proc/self/mem writes to the kernel's area"
                );
            }
            _ => {
                let child = sys::fork(|| {
                    let _ = sys::leave_on_fault();
                    kernel.store(ROOM_WANTED_AT, &room_wanted.to_ne_bytes());
                    0
                })?;
                let status = sys::wait(child)?;
                ensure!(status == sys::FAULTED, "a store ended with {status}");
            }
        }
        // What is not mapped must not become so.
        ensure!(
            Mapping::new(CHANNEL, 0, 4096, PROT_WRITE, MAP_SHARED).is_err()
                && Mapping::new(CHANNEL, 4096, 4096, PROT_NONE, MAP_SHARED).is_err(),
            "the kernel's area can be mapped otherwise"
        );
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The counters of regions, in the VM's directory in debugfs.

pub(super) mod counts;
pub(super) mod file;

use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use ioregion_wire::uapi::KvmIoregion;
use kvm_ioctls::VmFd;
use module_tests::verdict::Skip;
use rawguest::{Asm, Machine, Mem, Reg, Vcpu, Width};
use vmm_sys_util::eventfd::EventFd;

use crate::channel::{DeviceEnd, KvmEnd, Transport};
use crate::check::check_eq;
use crate::region::MMIO;
use crate::rules;
use crate::scene::{scene, Scene};
use crate::tasks;

const SIZE: u64 = 0x1000;
const KVM: &str = "/sys/kernel/debug/kvm";

/// The file of a VM that this thread made.
pub(super) fn path_of(vm: &VmFd) -> Result<PathBuf> {
    if !Path::new(KVM).is_dir() {
        return Err(Skip(format!("there is no {KVM}: is debugfs mounted?")).into());
    }
    let name = format!("{}-{}", tasks::this_thread(), vm.as_raw_fd());
    Ok(Path::new(KVM).join(name).join("ioregion"))
}

/// The machine, vCPU and device of a [`scene`].
pub(super) fn fixture(
    transport: Transport,
    program: &Asm,
    region: impl FnOnce(&KvmEnd) -> KvmIoregion,
) -> Result<(Machine, Vcpu, DeviceEnd)> {
    let Scene {
        machine,
        vcpu,
        device,
        ..
    } = scene(transport, program, region)?;
    Ok((machine, vcpu, device))
}

/// Makes writes of 4 bytes at `offset` of the region at `MMIO` a rule's: it posts them to the
/// device, or signals an eventfd.
pub(super) fn set_doorbell(vm: &VmFd, offset: u32, eventfd: Option<&EventFd>) -> Result<()> {
    let region = KvmIoregion {
        guest_paddr: MMIO,
        memory_size: SIZE,
        ..Default::default()
    };
    let fd = eventfd.map_or(rules::NO_FD, AsRawFd::as_raw_fd);
    let rule = rules::doorbell(Width::Long, offset, fd);
    rules::set(vm, &region, None, &[rule]).context("KVM_SET_IOREGION_RULES")
}

/// The line of a region.
#[derive(Debug)]
pub(super) struct Line(String);

impl Line {
    /// The lines of a VM.
    pub(super) fn all(vm: &VmFd) -> Result<Vec<Self>> {
        let path = path_of(vm)?;
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(text.lines().map(|line| Self(line.to_owned())).collect())
    }

    /// The line of a VM's only region.
    pub(super) fn only(vm: &VmFd) -> Result<Self> {
        let mut lines = Self::all(vm)?;
        check_eq!(lines.len(), 1, "lines");
        lines.pop().context("no line")
    }

    fn word(&self, key: &str) -> Result<&str> {
        let mut words = self.0.split(' ').filter_map(|word| word.split_once('='));
        let (_, value) = words
            .find(|(name, _)| *name == key)
            .with_context(|| format!("no {key} in {self:?}"))?;
        Ok(value)
    }

    /// A counter.
    pub(super) fn count(&self, key: &str) -> Result<u64> {
        let value = self.word(key)?;
        value.parse().with_context(|| format!("{key}={value}"))
    }

    /// The histogram: logarithm and number of waits.
    fn waits(&self) -> Result<Vec<(u32, u64)>> {
        let buckets = self.word("waits")?.split(',').filter(|b| !b.is_empty());
        let parse = |bucket: &str| {
            let (log2, count) = bucket.split_once(':').context("a bucket without a colon")?;
            Ok((log2.parse()?, count.parse()?))
        };
        buckets.map(parse).collect()
    }

    /// Fails the test unless these counters have these values, all other ones of `COUNTS` are 0,
    /// and there are as many waits as accesses that waited.
    pub(super) fn check(&self, want: &[(&str, u64)]) -> Result<()> {
        for key in COUNTS {
            let want = want.iter().find(|(name, _)| *name == key);
            let want = want.map_or(0, |(_, value)| *value);
            check_eq!(self.count(key)?, want, "{key} of {self:?}");
        }
        let waits: u64 = self.waits()?.iter().map(|(_, count)| count).sum();
        let waited = self.count("spun")? + self.count("slept")?;
        check_eq!(waits, waited, "waits of {self:?}");
        Ok(())
    }
}

/// Counters whose values do not depend on who is quicker.
const COUNTS: [&str; 6] = ["reads", "writes", "posted", "ruled", "failed", "timed_out"];

/// 3 reads and 2 writes.
fn mixed() -> Asm {
    let mut program = Asm::long();
    program.mov(Reg::Bx, MMIO + 8);
    program.repeat(3, |body| {
        body.load(Width::Long, Reg::Ax, Mem::At(Reg::Bx));
    });
    program.repeat(2, |body| {
        body.store(Width::Word, Mem::At(Reg::Bx), Reg::Ax);
    });
    program.halt();
    program
}

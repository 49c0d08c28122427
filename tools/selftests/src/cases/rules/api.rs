// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What a rule may be.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use ioregion_wire::uapi::{
    KvmIoregion, KvmIoregionRule, KVM_IOREGION_RULE_DATAMATCH, KVM_IOREGION_RULE_READ,
    KVM_IOREGION_RULE_WRITE,
};
use kvm_ioctls::VmFd;
use libc::{EBADF, EINVAL};
use rawguest::{Memory, Width};
use vmm_sys_util::eventfd::EventFd;

use super::SIZE;
use crate::cases::api::fixture;
use crate::channel;
use crate::check::expect_errno;
use crate::region::{mmio, set, MMIO};
use crate::rules::{self, doorbell, matching, plain, w1c, BOTH, NO_FD};
use crate::suite::{tests, Context};

tests!(
    "rules_api",
    Ioregion,
    [
        sizes,
        offsets,
        kinds,
        flags,
        targets,
        fields_of_other_kinds,
        datamatches,
        descriptors,
        ambiguous_rules,
        rules_that_are_not_ambiguous,
    ]
);

/// A region without a vCPU, and its registers.
pub(super) struct Fixture {
    pub(super) vm: VmFd,
    pub(super) region: KvmIoregion,
    pub(super) registers: Arc<Memory>,
    _end: channel::KvmEnd,
}

pub(super) fn region() -> Result<Fixture> {
    let (vm, end) = fixture()?;
    let region = mmio(MMIO, SIZE, &end);
    set(&vm, &region)?;
    Ok(Fixture {
        vm,
        region,
        registers: super::registers(SIZE)?,
        _end: end,
    })
}

impl Fixture {
    /// With registers, if a rule needs them.
    pub(super) fn set(&self, rules: &[KvmIoregionRule]) -> io::Result<()> {
        let registers = super::need_registers(rules).then_some(&*self.registers);
        rules::set(&self.vm, &self.region, registers, rules)
    }

    /// The rule is refused: alone, and behind one that is good.
    fn refuse(&self, rule: KvmIoregionRule, errno: i32) -> Result<()> {
        let what = format!("{rule:x?}");
        expect_errno(self.set(&[rule]), errno, &what)?;
        let good = doorbell(Width::Byte, SIZE as u32 - 1, NO_FD);
        expect_errno(
            self.set(&[good, rule]),
            errno,
            &format!("{what}, behind another"),
        )
    }

    fn accept(&self, rules: &[KvmIoregionRule]) -> Result<()> {
        self.set(rules).with_context(|| format!("{rules:x?}"))
    }
}

/// One rule of each kind, for both directions where the kind has both.
fn each_kind() -> [KvmIoregionRule; 3] {
    [
        plain(Width::Long, 0x40, BOTH),
        w1c(Width::Long, 0x40, 0x44),
        doorbell(Width::Long, 0x40, NO_FD),
    ]
}

fn sizes(_: &Context) -> Result<()> {
    let test = region()?;
    for rule in each_kind() {
        for size in [0, 3, 5, 6, 7, 9, 16, 0x40, 1 << 31, u32::MAX] {
            test.refuse(KvmIoregionRule { size, ..rule }, EINVAL)?;
        }
        for size in [1, 2, 4, 8] {
            let target = if rule.target == 0 { 0 } else { 0x48 };
            test.accept(&[KvmIoregionRule {
                size,
                target,
                ..rule
            }])?;
        }
    }
    Ok(())
}

fn offsets(_: &Context) -> Result<()> {
    let test = region()?;
    let end = SIZE as u32;
    for rule in each_kind() {
        let at = |offset| KvmIoregionRule { offset, ..rule };
        for offset in [
            0x41,
            0x42,
            0x43,
            end - 2,
            end - 1,
            end,
            end + 4,
            0x1000,
            1 << 31,
            u32::MAX - 3,
        ] {
            test.refuse(at(offset), EINVAL)?;
        }
        test.accept(&[at(0)])?;
        test.accept(&[at(end - 4)])?;
    }
    Ok(())
}

fn kinds(_: &Context) -> Result<()> {
    let test = region()?;
    for kind in [3, 4, 0x100, u32::MAX] {
        for rule in each_kind() {
            test.refuse(KvmIoregionRule { kind, ..rule }, EINVAL)?;
        }
    }
    Ok(())
}

/// Each kind has the directions that it can have, and at least one.
fn flags(_: &Context) -> Result<()> {
    let test = region()?;
    for rule in each_kind() {
        let with = |flags| KvmIoregionRule { flags, ..rule };
        for bit in 3..32 {
            test.refuse(with(rule.flags | 1 << bit), EINVAL)?;
        }
        test.refuse(with(0), EINVAL)?;
    }
    let [plain, w1c, doorbell] = each_kind();
    for rule in [w1c, doorbell] {
        for flags in [KVM_IOREGION_RULE_READ, BOTH] {
            test.refuse(KvmIoregionRule { flags, ..rule }, EINVAL)?;
        }
    }
    for rule in [plain, w1c] {
        let flags = rule.flags | KVM_IOREGION_RULE_DATAMATCH;
        test.refuse(KvmIoregionRule { flags, ..rule }, EINVAL)?;
    }
    let flags = KVM_IOREGION_RULE_DATAMATCH;
    test.refuse(KvmIoregionRule { flags, ..doorbell }, EINVAL)?;
    for flags in [KVM_IOREGION_RULE_READ, KVM_IOREGION_RULE_WRITE] {
        test.accept(&[KvmIoregionRule { flags, ..plain }])?;
    }
    Ok(())
}

fn targets(_: &Context) -> Result<()> {
    let test = region()?;
    let end = SIZE as u32;
    for target in [
        1,
        2,
        3,
        0x61,
        0x62,
        end - 2,
        end,
        end + 4,
        u32::MAX - 3,
        u32::MAX,
    ] {
        test.refuse(w1c(Width::Long, 0x64, target), EINVAL)?;
    }
    for target in [0, 0x60, 0x64, end - 4] {
        test.accept(&[w1c(Width::Long, 0x64, target)])?;
    }
    Ok(())
}

/// A field that a kind has no use for must say so.
fn fields_of_other_kinds(_: &Context) -> Result<()> {
    let test = region()?;
    let event = EventFd::new(0)?;
    let [plain, w1c, doorbell] = each_kind();
    for rule in [plain, w1c] {
        for fd in [0, event.as_raw_fd(), -2, i32::MIN] {
            test.refuse(KvmIoregionRule { fd, ..rule }, EINVAL)?;
        }
    }
    for rule in [plain, doorbell] {
        for target in [4, 0x40] {
            test.refuse(KvmIoregionRule { target, ..rule }, EINVAL)?;
        }
    }
    for rule in each_kind() {
        for datamatch in [1, u64::MAX] {
            test.refuse(KvmIoregionRule { datamatch, ..rule }, EINVAL)?;
        }
    }
    Ok(())
}

/// A value that no access of this size can write is a mistake.
fn datamatches(_: &Context) -> Result<()> {
    let test = region()?;
    for width in [Width::Byte, Width::Word, Width::Long] {
        let rule = doorbell(width, 0, NO_FD);
        let most = width.mask(u64::MAX);
        for datamatch in [most + 1, 1 << 63, u64::MAX] {
            test.refuse(matching(rule, datamatch), EINVAL)?;
        }
        test.accept(&[matching(rule, most)])?;
    }
    test.accept(&[matching(doorbell(Width::Quad, 0, NO_FD), u64::MAX)])
}

/// As for `KVM_IOEVENTFD`.
fn descriptors(_: &Context) -> Result<()> {
    let test = region()?;
    let closed = File::open("/dev/null")?.as_raw_fd();
    for fd in [closed, i32::MAX] {
        test.refuse(doorbell(Width::Long, 0, fd), EBADF)?;
    }
    for fd in [-2, i32::MIN] {
        test.refuse(doorbell(Width::Long, 0, fd), EINVAL)?;
    }
    let null = File::open("/dev/null")?;
    let (reader, _writer) = channel::pipe()?;
    for fd in [null.as_raw_fd(), reader.as_raw_fd(), test.vm.as_raw_fd()] {
        test.refuse(doorbell(Width::Long, 0, fd), EINVAL)?;
    }
    let event = EventFd::new(0)?;
    test.accept(&[doorbell(Width::Long, 0, event.as_raw_fd())])
}

/// Two rules that one access would match.
fn ambiguous_rules(_: &Context) -> Result<()> {
    let test = region()?;
    let bell = doorbell(Width::Long, 0x40, NO_FD);
    for (first, second) in [
        (
            plain(Width::Long, 0x40, BOTH),
            plain(Width::Long, 0x40, BOTH),
        ),
        (
            plain(Width::Long, 0x40, BOTH),
            plain(Width::Long, 0x40, KVM_IOREGION_RULE_READ),
        ),
        (plain(Width::Long, 0x40, BOTH), w1c(Width::Long, 0x40, 0x44)),
        (plain(Width::Long, 0x40, KVM_IOREGION_RULE_WRITE), bell),
        (w1c(Width::Long, 0x40, 0x44), w1c(Width::Long, 0x40, 0x48)),
        (w1c(Width::Long, 0x40, 0x44), bell),
        (w1c(Width::Long, 0x40, 0x44), matching(bell, 1)),
        (bell, bell),
        (matching(bell, 1), matching(bell, 1)),
        (matching(bell, 0), matching(bell, 0)),
        (bell, matching(bell, 1)),
    ] {
        for rules in [[first, second], [second, first]] {
            expect_errno(test.set(&rules), EINVAL, &format!("{rules:x?}"))?;
        }
        let between = plain(Width::Long, 0x50, BOTH);
        let apart = [first, between, second];
        expect_errno(test.set(&apart), EINVAL, &format!("{apart:x?}"))?;
    }
    Ok(())
}

/// Two that touch the same bytes, but that no access matches both of.
fn rules_that_are_not_ambiguous(_: &Context) -> Result<()> {
    let test = region()?;
    let (read, write) = (KVM_IOREGION_RULE_READ, KVM_IOREGION_RULE_WRITE);
    let bell = doorbell(Width::Long, 0x40, NO_FD);
    test.accept(&[
        plain(Width::Long, 0x40, read),
        plain(Width::Long, 0x40, write),
    ])?;
    test.accept(&[plain(Width::Long, 0x40, read), w1c(Width::Long, 0x40, 0x44)])?;
    test.accept(&[
        plain(Width::Long, 0x40, read),
        matching(bell, 1),
        matching(bell, 2),
    ])?;
    test.accept(&[matching(bell, 0), matching(bell, u32::MAX.into())])?;
    test.accept(&[
        plain(Width::Long, 0x40, BOTH),
        plain(Width::Byte, 0x40, BOTH),
    ])?;
    test.accept(&[
        plain(Width::Quad, 0x40, BOTH),
        plain(Width::Long, 0x44, BOTH),
    ])
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Rules: what KVM does with an access to a region instead of asking the device.

use std::io;
use std::os::fd::AsRawFd;
use std::ptr;

use ioregion_wire::frame::Width;
use ioregion_wire::uapi::{
    KvmIoregionRule, KvmIoregionRules, KVM_IOREGION_PIO, KVM_IOREGION_RULE_DATAMATCH,
    KVM_IOREGION_RULE_DOORBELL, KVM_IOREGION_RULE_PLAIN, KVM_IOREGION_RULE_READ,
    KVM_IOREGION_RULE_W1C, KVM_IOREGION_RULE_WRITE, KVM_SET_IOREGION_RULES,
};
use kvm_ioctls::VmFd;
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::ioctl::ioctl_with_ref;

use super::{Bus, Region};
use crate::shadow::Shadow;

/// What becomes of an access to exactly `offset`, of exactly `width`. Any other goes to the device.
#[derive(Clone, Copy, Debug)]
pub struct Rule<'a> {
    /// Bytes from the start of the region, a multiple of the width.
    pub offset: u32,
    /// Width of the access.
    pub width: Width,
    /// What KVM does.
    pub action: Action<'a>,
}

/// What KVM does with an access.
#[derive(Clone, Copy, Debug)]
pub enum Action<'a> {
    /// A read loads the register at the rule's offset.
    Load,
    /// A write stores to it.
    Store,
    /// Both.
    LoadStore,
    /// A write clears the bits that are set in its data in the register at `target`, atomically.
    WriteOneToClear {
        /// Offset of the register, a multiple of the width.
        target: u32,
    },
    /// A write tells the device, and the guest does not wait.
    Doorbell {
        /// Only a write of this value.
        datamatch: Option<u64>,
        /// How the device is told.
        to: Doorbell<'a>,
    },
}

/// How a device is told of a write to a doorbell.
#[derive(Clone, Copy, Debug)]
pub enum Doorbell<'a> {
    /// KVM signals this eventfd.
    Event(&'a EventFd),
    /// KVM sends the write over the region's channel, and waits for nothing.
    Device,
}

impl Doorbell<'_> {
    pub(crate) fn to_kvm(self) -> i32 {
        match self {
            Self::Event(event) => event.as_raw_fd(),
            Self::Device => -1,
        }
    }
}

impl Rule<'_> {
    fn to_kvm(self) -> KvmIoregionRule {
        let rule = KvmIoregionRule {
            offset: self.offset,
            size: self.width.bytes() as u32,
            kind: KVM_IOREGION_RULE_PLAIN,
            flags: KVM_IOREGION_RULE_WRITE,
            fd: -1,
            ..Default::default()
        };
        match self.action {
            Action::Load => KvmIoregionRule {
                flags: KVM_IOREGION_RULE_READ,
                ..rule
            },
            Action::Store => rule,
            Action::LoadStore => KvmIoregionRule {
                flags: KVM_IOREGION_RULE_READ | KVM_IOREGION_RULE_WRITE,
                ..rule
            },
            Action::WriteOneToClear { target } => KvmIoregionRule {
                kind: KVM_IOREGION_RULE_W1C,
                target,
                ..rule
            },
            Action::Doorbell { datamatch, to } => KvmIoregionRule {
                kind: KVM_IOREGION_RULE_DOORBELL,
                flags: rule.flags | datamatch.map_or(0, |_| KVM_IOREGION_RULE_DATAMATCH),
                datamatch: datamatch.unwrap_or(0),
                fd: to.to_kvm(),
                ..rule
            },
        }
    }

    /// The action works on a register.
    fn needs_registers(&self) -> bool {
        !matches!(self.action, Action::Doorbell { .. })
    }
}

/// Gives a region that is set these rules, in place of those that it has; none removes them.
/// `registers` is what rules other than doorbells work on, as long as the region and shared with
/// the device; KVM keeps its own reference to their pages, and to the eventfds.
///
/// Rules end with their region.
///
/// # Errors
///
/// - `InvalidInput`: a rule needs `registers`, which are not as long as the region.
/// - `EINVAL`: more than `KVM_IOREGION_MAX_RULES` rules; one outside the region, not aligned, or
///   with a part that its action does not have; two that match the same access; a doorbell's
///   descriptor that is no eventfd.
/// - `ENOENT`: no region of exactly this bus, address and size.
/// - `ENOMEM`: also because of `RLIMIT_MEMLOCK`, as KVM pins the registers.
/// - `ENOTTY`: no `ioregion.ko`, or one without rules.
///
/// The region then has the rules that it had.
pub fn set_rules(
    vm: &VmFd,
    region: &Region,
    registers: &Shadow,
    rules: &[Rule<'_>],
) -> io::Result<()> {
    let needed = rules.iter().any(Rule::needs_registers);
    if needed && region.size != registers.size() as u64 {
        let message = format!(
            "{:#x} bytes of registers for a region of {:#x}",
            registers.size(),
            region.size
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let rules: Vec<_> = rules.iter().map(|rule| rule.to_kvm()).collect();
    let registers = if needed {
        registers.as_ptr()
    } else {
        ptr::null_mut()
    };
    let argument = KvmIoregionRules {
        guest_paddr: region.address,
        memory_size: region.size,
        registers: registers as u64,
        rules: rules.as_ptr() as u64,
        nr_rules: rules.len() as u32,
        flags: match region.bus {
            Bus::Mmio => 0,
            Bus::Pio => KVM_IOREGION_PIO,
        },
        ..Default::default()
    };
    // SAFETY:
    // - The kernel reads one `KvmIoregionRules` and `nr_rules` rules, which live until it returns.
    // - It pins the pages of the registers. Whatever it and the guest do with them, others only
    //   see them as atomics, and any bits are valid there.
    match unsafe { ioctl_with_ref(vm, KVM_SET_IOREGION_RULES.into(), &argument) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kvm(action: Action<'_>) -> KvmIoregionRule {
        let rule = Rule {
            offset: 0x64,
            width: Width::Long,
            action,
        };
        rule.to_kvm()
    }

    #[test]
    fn a_rule_becomes_what_kvm_takes() {
        let event = EventFd::new(0).unwrap();
        let (fd, read, write) = (event.as_raw_fd(), 1, 2);
        let event = Doorbell::Event(&event);
        let to = Doorbell::Device;
        for (action, kind, flags, target, fd, datamatch) in [
            (Action::Load, 0, read, 0, -1, 0),
            (Action::Store, 0, write, 0, -1, 0),
            (Action::LoadStore, 0, read | write, 0, -1, 0),
            (
                Action::WriteOneToClear { target: 0x60 },
                1,
                write,
                0x60,
                -1,
                0,
            ),
            (
                Action::Doorbell {
                    datamatch: None,
                    to,
                },
                2,
                write,
                0,
                -1,
                0,
            ),
            (
                Action::Doorbell {
                    datamatch: Some(3),
                    to: event,
                },
                2,
                write | 4,
                0,
                fd,
                3,
            ),
        ] {
            let want = KvmIoregionRule {
                offset: 0x64,
                size: 4,
                kind,
                flags,
                target,
                fd,
                datamatch,
            };
            assert_eq!(kvm(action), want, "{action:?}");
        }
    }
}

// SPDX-License-Identifier: GPL-2.0-only

//! The rules of a region, with what they act on: registers and eventfds.

use core::borrow::Borrow;
use ioregion_rules::{
    rule::{
        Action,
        Bounds,
        Rule, //
    },
    table, //
};
use ioregion_wire::{
    frame::{
        Operation,
        Width, //
    },
    uapi::{
        KvmIoregionRule,
        KvmIoregionRules,
        KVM_IOREGION_MAX_REGISTERS,
        KVM_IOREGION_MAX_RULES, //
    },
};
use kernel::{
    prelude::*,
    uaccess::UserPtr, //
};
use kvm_ext::{
    EventFd,
    Registers, //
};

use crate::argument;

/// Rules, sorted, and what they act on.
pub(crate) struct Rules {
    rules: KVec<Bound>,
    registers: Option<Registers>,
}

/// A rule with its eventfd.
struct Bound {
    rule: Rule,
    eventfd: Option<EventFd>,
}

impl Borrow<Rule> for Bound {
    fn borrow(&self) -> &Rule {
        &self.rule
    }
}

/// What a rule made of an access.
pub(crate) enum Effect {
    /// It is complete; a read yields this.
    Complete(u64),
    /// It goes to the device, which does not answer.
    Post,
}

impl Rules {
    /// Reads and checks the rules of `arg`, of which there is at least one.
    ///
    /// # Errors
    ///
    /// - `EFAULT`: the rules or the registers are not there.
    /// - `EINVAL`: there are more than [`KVM_IOREGION_MAX_RULES`]; one is none (see
    ///   [`Rule::parse`]), or two match the same access; the registers are not at a page
    ///   boundary, or more than [`KVM_IOREGION_MAX_REGISTERS`]; a descriptor is no eventfd.
    /// - `EBADF`: there is no such descriptor.
    /// - `ENOMEM`: also because of `RLIMIT_MEMLOCK`.
    pub(crate) fn read(arg: &KvmIoregionRules) -> Result<Self> {
        let count = arg.nr_rules as usize;
        if count > KVM_IOREGION_MAX_RULES {
            return Err(EINVAL);
        }
        let bounds = Bounds {
            memory_size: arg.memory_size,
            has_registers: arg.registers != 0,
        };
        if bounds.has_registers && arg.memory_size > KVM_IOREGION_MAX_REGISTERS {
            return Err(EINVAL);
        }
        let mut rules = KVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
        for at in 0..count {
            let from = arg
                .rules
                .wrapping_add((at * size_of::<KvmIoregionRule>()) as u64);
            let rule: KvmIoregionRule = argument::read(UserPtr::from_addr(from as usize))?;
            rules.push(Bound::new(&rule, &bounds)?, GFP_KERNEL_ACCOUNT)?;
        }
        table::sort(&mut rules).map_err(|_| EINVAL)?;
        let registers = match bounds.has_registers {
            true => Some(Registers::pin(arg.registers, arg.memory_size as usize)?),
            false => None,
        };
        Ok(Self { rules, registers })
    }

    /// Does what the rule says that an access matches, if there is one.
    #[inline]
    pub(crate) fn apply(&self, offset: u64, width: Width, operation: Operation) -> Option<Effect> {
        let bound = table::find(&self.rules, offset, width, operation)?;
        let bytes = width.bytes();
        match (bound.rule.action(), operation, &self.registers) {
            (Action::Plain, Operation::Read, Some(registers)) => {
                return Some(Effect::Complete(registers.load(offset as u32, bytes)));
            }
            (Action::Plain, Operation::Write(data), Some(registers)) => {
                registers.store(offset as u32, bytes, data);
            }
            (Action::ClearBits { target }, Operation::Write(data), Some(registers)) => {
                registers.clear(target, bytes, data);
            }
            (Action::Post, ..) => return Some(Effect::Post),
            _ => {
                if let Some(eventfd) = &bound.eventfd {
                    eventfd.signal();
                }
            }
        }
        Some(Effect::Complete(0))
    }
}

impl Bound {
    fn new(arg: &KvmIoregionRule, bounds: &Bounds) -> Result<Self> {
        let rule = Rule::parse(arg, bounds).map_err(|_| EINVAL)?;
        let eventfd = match rule.action() {
            Action::Signal => Some(EventFd::from_fd(rule.fd())?),
            _ => None,
        };
        Ok(Self { rule, eventfd })
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! One rule.

use ioregion_wire::{
    frame::{
        Operation,
        Width, //
    },
    uapi::{
        KvmIoregionRule,
        KVM_IOREGION_RULE_DATAMATCH,
        KVM_IOREGION_RULE_DOORBELL,
        KVM_IOREGION_RULE_PLAIN,
        KVM_IOREGION_RULE_READ,
        KVM_IOREGION_RULE_W1C,
        KVM_IOREGION_RULE_WRITE, //
    },
};

/// What an access that matches a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A read loads the register at the access's offset, a write stores it.
    Plain,
    /// A write clears the bits of its data in the register at `target`.
    ClearBits {
        /// Offset of the register.
        target: u32,
    },
    /// A write signals the rule's eventfd.
    Signal,
    /// A write goes to the device as a posted write.
    Post,
}

/// A checked rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    pub(crate) offset: u32,
    pub(crate) width: Width,
    pub(crate) reads: bool,
    pub(crate) writes: bool,
    /// The only data of a write that matches.
    pub(crate) datamatch: Option<u64>,
    action: Action,
    fd: i32,
}

/// Why a `struct kvm_ioregion_rule` is refused; each is `EINVAL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRule {
    /// `size` is not 1, 2, 4 or 8.
    Size(u32),
    /// `offset` is not a multiple of `size`, or not inside of the region.
    Offset(u32),
    /// No such kind.
    Kind(u32),
    /// Flags that do not exist, or that the kind does not take, or no direction at all.
    Flags(u32),
    /// `target` is no register, or the kind has none and it is not 0.
    Target(u32),
    /// The kind has no descriptor, and it is not -1.
    Fd(i32),
    /// `datamatch` is wider than `size`, or not 0 without the flag.
    Datamatch(u64),
    /// The kind needs registers, and there are none.
    NoRegisters,
}

/// The region that rules are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Its bytes.
    pub memory_size: u64,
    /// It has registers, of as many bytes.
    pub has_registers: bool,
}

impl Bounds {
    fn hold(&self, offset: u32, width: Width) -> bool {
        let bytes = width.bytes() as u64;
        let offset = u64::from(offset);
        offset % bytes == 0 && offset + bytes <= self.memory_size
    }
}

impl Rule {
    /// Checks a rule, all but whether its descriptor is an eventfd.
    ///
    /// # Errors
    ///
    /// [`BadRule`], the first that holds in the order of its variants.
    pub fn parse(arg: &KvmIoregionRule, bounds: &Bounds) -> Result<Self, BadRule> {
        let width = Width::from_bytes(arg.size as usize).ok_or(BadRule::Size(arg.size))?;
        if !bounds.hold(arg.offset, width) {
            return Err(BadRule::Offset(arg.offset));
        }
        let action = action(arg)?;
        let takes = match action {
            Action::Plain => KVM_IOREGION_RULE_READ | KVM_IOREGION_RULE_WRITE,
            Action::ClearBits { .. } => KVM_IOREGION_RULE_WRITE,
            Action::Signal | Action::Post => KVM_IOREGION_RULE_WRITE | KVM_IOREGION_RULE_DATAMATCH,
        };
        let reads = arg.flags & KVM_IOREGION_RULE_READ != 0;
        let writes = arg.flags & KVM_IOREGION_RULE_WRITE != 0;
        if arg.flags & !takes != 0 || !(reads || writes) {
            return Err(BadRule::Flags(arg.flags));
        }
        let is_target = match action {
            Action::ClearBits { target } => bounds.hold(target, width),
            _ => arg.target == 0,
        };
        if !is_target {
            return Err(BadRule::Target(arg.target));
        }
        if arg.fd < -1 || (arg.fd != -1 && action != Action::Signal) {
            return Err(BadRule::Fd(arg.fd));
        }
        let datamatch = datamatch(arg, width)?;
        let needs_registers = matches!(action, Action::Plain | Action::ClearBits { .. });
        if needs_registers && !bounds.has_registers {
            return Err(BadRule::NoRegisters);
        }
        Ok(Self {
            offset: arg.offset,
            width,
            reads,
            writes,
            datamatch,
            action,
            fd: arg.fd,
        })
    }

    /// What an access that matches does.
    #[inline]
    pub fn action(&self) -> Action {
        self.action
    }

    /// The eventfd of [`Action::Signal`].
    pub fn fd(&self) -> i32 {
        self.fd
    }

    /// Whether an access of this rule's offset and width is one of the rule.
    #[inline]
    pub(crate) fn takes(&self, operation: Operation) -> bool {
        match operation {
            Operation::Read => self.reads,
            Operation::Write(data) => {
                self.writes && self.datamatch.is_none_or(|wanted| data == wanted)
            }
        }
    }

    /// Whether some access is one of both rules.
    pub(crate) fn collides_with(&self, other: &Self) -> bool {
        let same_data = match (self.datamatch, other.datamatch) {
            (Some(one), Some(two)) => one == two,
            _ => true,
        };
        let same_direction = (self.reads && other.reads) || (self.writes && other.writes);
        (self.offset, self.width) == (other.offset, other.width) && same_direction && same_data
    }
}

fn action(arg: &KvmIoregionRule) -> Result<Action, BadRule> {
    match arg.kind {
        KVM_IOREGION_RULE_PLAIN => Ok(Action::Plain),
        KVM_IOREGION_RULE_W1C => Ok(Action::ClearBits { target: arg.target }),
        KVM_IOREGION_RULE_DOORBELL if arg.fd == -1 => Ok(Action::Post),
        KVM_IOREGION_RULE_DOORBELL => Ok(Action::Signal),
        other => Err(BadRule::Kind(other)),
    }
}

fn datamatch(arg: &KvmIoregionRule, width: Width) -> Result<Option<u64>, BadRule> {
    let wanted = arg.datamatch;
    match arg.flags & KVM_IOREGION_RULE_DATAMATCH != 0 {
        true if width.mask(wanted) == wanted => Ok(Some(wanted)),
        false if wanted == 0 => Ok(None),
        _ => Err(BadRule::Datamatch(wanted)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        memory_size: 0x100,
        has_registers: true,
    };

    fn plain() -> KvmIoregionRule {
        KvmIoregionRule {
            offset: 0x60,
            size: 4,
            kind: KVM_IOREGION_RULE_PLAIN,
            flags: KVM_IOREGION_RULE_READ | KVM_IOREGION_RULE_WRITE,
            fd: -1,
            ..Default::default()
        }
    }

    fn clear() -> KvmIoregionRule {
        KvmIoregionRule {
            offset: 0x64,
            kind: KVM_IOREGION_RULE_W1C,
            flags: KVM_IOREGION_RULE_WRITE,
            target: 0x60,
            ..plain()
        }
    }

    fn doorbell() -> KvmIoregionRule {
        KvmIoregionRule {
            offset: 0x50,
            kind: KVM_IOREGION_RULE_DOORBELL,
            flags: KVM_IOREGION_RULE_WRITE | KVM_IOREGION_RULE_DATAMATCH,
            fd: 3,
            datamatch: 1,
            ..plain()
        }
    }

    #[test]
    fn each_kind_has_its_action() {
        let action = |arg| Rule::parse(&arg, &BOUNDS).map(|rule| rule.action());
        assert_eq!(action(plain()), Ok(Action::Plain));
        assert_eq!(action(clear()), Ok(Action::ClearBits { target: 0x60 }));
        assert_eq!(action(doorbell()), Ok(Action::Signal));
        let posted = KvmIoregionRule {
            fd: -1,
            ..doorbell()
        };
        assert_eq!(action(posted), Ok(Action::Post));
    }

    #[test]
    fn every_error_has_its_cause() {
        type Change = fn(&mut KvmIoregionRule);
        let cases: &[(KvmIoregionRule, Change, BadRule)] = &[
            (plain(), |r| r.size = 3, BadRule::Size(3)),
            (plain(), |r| r.size = 0, BadRule::Size(0)),
            (plain(), |r| r.offset = 0x61, BadRule::Offset(0x61)),
            (plain(), |r| r.offset = 0x100, BadRule::Offset(0x100)),
            (
                plain(),
                |r| r.offset = u32::MAX - 3,
                BadRule::Offset(u32::MAX - 3),
            ),
            (plain(), |r| r.kind = 3, BadRule::Kind(3)),
            (plain(), |r| r.flags = 0, BadRule::Flags(0)),
            (plain(), |r| r.flags = 7, BadRule::Flags(7)),
            (plain(), |r| r.flags = 9, BadRule::Flags(9)),
            (clear(), |r| r.flags = 3, BadRule::Flags(3)),
            (doorbell(), |r| r.flags = 7, BadRule::Flags(7)),
            (doorbell(), |r| r.flags = 4, BadRule::Flags(4)),
            (plain(), |r| r.target = 4, BadRule::Target(4)),
            (clear(), |r| r.target = 0x62, BadRule::Target(0x62)),
            (clear(), |r| r.target = 0x100, BadRule::Target(0x100)),
            (doorbell(), |r| r.target = 4, BadRule::Target(4)),
            (plain(), |r| r.fd = 0, BadRule::Fd(0)),
            (clear(), |r| r.fd = 3, BadRule::Fd(3)),
            (doorbell(), |r| r.fd = -2, BadRule::Fd(-2)),
            (plain(), |r| r.datamatch = 1, BadRule::Datamatch(1)),
            (
                doorbell(),
                |r| r.datamatch = 1 << 32,
                BadRule::Datamatch(1 << 32),
            ),
        ];
        for (rule, change, bad) in cases {
            let mut rule = *rule;
            change(&mut rule);
            assert_eq!(Rule::parse(&rule, &BOUNDS), Err(*bad), "{rule:?}");
        }
    }

    #[test]
    fn only_doorbells_do_without_registers() {
        let bounds = Bounds {
            has_registers: false,
            ..BOUNDS
        };
        assert_eq!(Rule::parse(&plain(), &bounds), Err(BadRule::NoRegisters));
        assert_eq!(Rule::parse(&clear(), &bounds), Err(BadRule::NoRegisters));
        assert!(Rule::parse(&doorbell(), &bounds).is_ok());
    }
}

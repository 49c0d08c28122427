// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A checked region description.

use ioregion_wire::uapi::{
    KvmIoregion,
    KvmIoregionRules,
    KVM_IOREGION_CHANNEL,
    KVM_IOREGION_DEASSIGN,
    KVM_IOREGION_PIO,
    KVM_IOREGION_POSTED_WRITES, //
};

/// Ports are 16 bits wide.
const PIO_SPACE: u64 = 1 << 16;

/// Where guest accesses come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// Guest physical memory.
    Mmio,
    /// I/O ports.
    Pio,
}

impl Bus {
    /// The bus that `KVM_IOREGION_*` flags name.
    fn of(flags: u32) -> Self {
        match flags & KVM_IOREGION_PIO {
            0 => Self::Mmio,
            _ => Self::Pio,
        }
    }
}

/// A range of guest addresses. An empty one is a doorbell: it takes writes of any width to
/// exactly its address, and no other range may cover that address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    start: u64,
    len: u64,
}

impl Range {
    /// A range of `len` bytes, if it does not wrap.
    pub const fn new(start: u64, len: u64) -> Option<Self> {
        match start.checked_add(len) {
            Some(_) => Some(Self { start, len }),
            None => None,
        }
    }

    /// First address.
    #[inline]
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// Bytes; 0 for a doorbell.
    #[inline]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether this is a doorbell.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The last address that no other range may cover.
    #[inline]
    pub(crate) const fn last(&self) -> u64 {
        self.start + self.len.saturating_sub(1)
    }

    /// Whether the `len` bytes at `addr` lie wholly inside.
    #[inline]
    pub(crate) const fn contains(&self, addr: u64, len: u64) -> bool {
        addr >= self.start && len <= self.len && addr - self.start <= self.len - len
    }
}

/// What `KVM_SET_IOREGION` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The bus of the region.
    pub bus: Bus,
    /// Its addresses.
    pub range: Range,
    /// Writes do not wait for a reply.
    pub posted_writes: bool,
    /// The commands go to a channel in shared memory.
    pub channel: bool,
    /// Remove the region instead of adding it.
    pub deassign: bool,
    /// Milliseconds after which a device that has not answered has failed; 0: it may take for
    /// ever.
    pub timeout_ms: u32,
}

/// Why an argument of `KVM_SET_IOREGION` or `KVM_SET_IOREGION_RULES` is refused; each is `EINVAL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadSpec {
    /// Flags that no version defines.
    Flags(u32),
    /// `pad` is not zero.
    Padding,
    /// The range wraps, or leaves the port space.
    Range {
        /// `guest_paddr`.
        start: u64,
        /// `memory_size`.
        len: u64,
    },
    /// A doorbell takes only posted writes.
    DoorbellNotPosted,
    /// A doorbell takes no rules.
    DoorbellWithRules,
}

impl Spec {
    /// Checks the argument of the ioctl, all but its file descriptors.
    ///
    /// # Errors
    ///
    /// [`BadSpec`], in the order of its variants.
    pub fn parse(arg: &KvmIoregion) -> Result<Self, BadSpec> {
        const KNOWN: u32 = KVM_IOREGION_PIO
            | KVM_IOREGION_POSTED_WRITES
            | KVM_IOREGION_DEASSIGN
            | KVM_IOREGION_CHANNEL;

        if arg.flags & !KNOWN != 0 {
            return Err(BadSpec::Flags(arg.flags & !KNOWN));
        }
        if arg.pad != [0; 24] {
            return Err(BadSpec::Padding);
        }
        let bus = Bus::of(arg.flags);
        let range = Self::range(bus, arg.guest_paddr, arg.memory_size)?;
        let spec = Self {
            bus,
            range,
            posted_writes: arg.flags & KVM_IOREGION_POSTED_WRITES != 0,
            channel: arg.flags & KVM_IOREGION_CHANNEL != 0,
            deassign: arg.flags & KVM_IOREGION_DEASSIGN != 0,
            timeout_ms: arg.timeout_ms,
        };
        if range.is_empty() && !spec.posted_writes && !spec.deassign {
            return Err(BadSpec::DoorbellNotPosted);
        }
        Ok(spec)
    }

    /// The region that the argument of `KVM_SET_IOREGION_RULES` is for.
    ///
    /// # Errors
    ///
    /// [`BadSpec`], in the order of its variants.
    pub fn ruled(arg: &KvmIoregionRules) -> Result<(Bus, Range), BadSpec> {
        if arg.flags & !KVM_IOREGION_PIO != 0 {
            return Err(BadSpec::Flags(arg.flags & !KVM_IOREGION_PIO));
        }
        if arg.pad != [0; 24] {
            return Err(BadSpec::Padding);
        }
        let bus = Bus::of(arg.flags);
        let range = Self::range(bus, arg.guest_paddr, arg.memory_size)?;
        match range.is_empty() {
            true => Err(BadSpec::DoorbellWithRules),
            false => Ok((bus, range)),
        }
    }

    fn range(bus: Bus, start: u64, len: u64) -> Result<Range, BadSpec> {
        let bad = BadSpec::Range { start, len };
        let range = Range::new(start, len).ok_or(bad)?;
        if bus == Bus::Pio && (start >= PIO_SPACE || start + len > PIO_SPACE) {
            return Err(bad);
        }
        Ok(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arg(guest_paddr: u64, memory_size: u64, flags: u32) -> KvmIoregion {
        KvmIoregion {
            guest_paddr,
            memory_size,
            flags,
            ..Default::default()
        }
    }

    #[test]
    fn every_error_has_its_cause() {
        let doorbell = KVM_IOREGION_POSTED_WRITES;
        for (arg, want) in [
            (arg(0, 8, 16), BadSpec::Flags(16)),
            (
                KvmIoregion {
                    pad: [1; 24],
                    ..arg(0, 8, 0)
                },
                BadSpec::Padding,
            ),
            (
                arg(u64::MAX, 1, 0),
                BadSpec::Range {
                    start: u64::MAX,
                    len: 1,
                },
            ),
            (
                arg(0xffff, 2, KVM_IOREGION_PIO),
                BadSpec::Range {
                    start: 0xffff,
                    len: 2,
                },
            ),
            (
                arg(0x10000, 0, KVM_IOREGION_PIO | doorbell),
                BadSpec::Range {
                    start: 0x10000,
                    len: 0,
                },
            ),
            (arg(0x1000, 0, 0), BadSpec::DoorbellNotPosted),
        ] {
            assert_eq!(Spec::parse(&arg), Err(want));
        }
    }

    #[test]
    fn rules_are_for_a_region_with_bytes() {
        let rules = KvmIoregionRules {
            guest_paddr: 0x1000,
            memory_size: 8,
            ..Default::default()
        };
        let range = Range::new(0x1000, 8).unwrap();
        assert_eq!(Spec::ruled(&rules), Ok((Bus::Mmio, range)));
        type Change = fn(&mut KvmIoregionRules);
        let cases: [(Change, BadSpec); 4] = [
            (|r| r.flags = 3, BadSpec::Flags(2)),
            (|r| r.pad[23] = 1, BadSpec::Padding),
            (
                |r| (r.guest_paddr, r.flags) = (0xfffc, 1),
                BadSpec::Range {
                    start: 0xfffc,
                    len: 8,
                },
            ),
            (|r| r.memory_size = 0, BadSpec::DoorbellWithRules),
        ];
        for (change, bad) in cases {
            let mut rules = rules;
            change(&mut rules);
            assert_eq!(Spec::ruled(&rules), Err(bad));
        }
    }

    #[test]
    fn the_edges_are_regions() {
        for arg in [
            arg(u64::MAX - 8, 8, 0),
            arg(0xffff, 1, KVM_IOREGION_PIO),
            arg(0, 0, KVM_IOREGION_POSTED_WRITES),
            arg(0, 0, KVM_IOREGION_DEASSIGN),
        ] {
            assert!(Spec::parse(&arg).is_ok(), "{arg:?}");
        }
    }

    #[test]
    fn contains_only_what_lies_wholly_inside() {
        let range = Range::new(0x1000, 8).unwrap();
        assert!(range.contains(0x1000, 8));
        assert!(range.contains(0x1007, 1));
        assert!(!range.contains(0x1007, 2));
        assert!(!range.contains(0xfff, 2));
        assert!(!range.contains(u64::MAX, 2));
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Devices that lie, each a process of its own.

/// What a device that lies is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// A disk that does anything.
    Disk,
    /// A network device that does anything.
    Noise,
    /// A network device that does this one thing wrong, by its name for `shunt-rogue --wrong`.
    Only(&'static str),
}

/// A device that lies, of a process of its own.
#[derive(Debug)]
pub struct Rogue {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub lie: Lie,
    /// It offers packed virtqueues.
    pub is_packed: bool,
}

/// The PCI slot of a machine's device of this number that lies.
pub fn slot(number: usize) -> usize {
    16 + number
}

/// Splits an Ethernet header over two receive buffers.
pub const SPLIT_HEADER: Lie = Lie::Only("split-header");
/// Has 0x8000 pairs of queues.
pub const MANY_PAIRS: Lie = Lie::Only("many-pairs");
/// Has an MTU below the least one.
pub const SMALL_MTU: Lie = Lie::Only("small-mtu");
/// Answers no command in the control queue before it is reset.
pub const SILENT_CONTROL: Lie = Lie::Only("silent-control");

pub(super) const fn rogue(name: &'static str, lie: Lie, is_packed: bool) -> Rogue {
    Rogue {
        name,
        lie,
        is_packed,
    }
}

/// Those that do one certain thing wrong.
pub(super) const CULPRITS: &[Rogue] = &[
    rogue("split-header", SPLIT_HEADER, false),
    rogue("packed-header", SPLIT_HEADER, true),
    rogue("many-pairs", MANY_PAIRS, false),
    rogue("small-mtu", SMALL_MTU, false),
    rogue("silent-control", SILENT_CONTROL, true),
];

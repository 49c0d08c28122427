// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What a PCI device is to whoever puts it on a bus: configuration space, base address registers
//! (BARs), interrupts, memory to reach by DMA.
//!
//! The registers behind all BARs are one [`Device`]: those of BAR `n` begin at [`bar`]`(n)`. So an
//! access is carried out and counted by [`perform`](crate::device::perform) whichever way it came.
//!
//! Who puts the device on a bus calls one method at a time. After each call that may have changed
//! something it looks at [`interrupts`](PciDevice::interrupts).

pub mod config_space;
pub mod msix_table;
pub mod signalled;

use vm_memory::GuestMemoryMmap;

use crate::device::Device;
use crate::state::StatePage;

/// How many BARs a device can have.
pub const BARS: usize = 6;

/// Bytes of the configuration space.
pub const CONFIG_SIZE: usize = 256;

/// Where the registers of BAR `index` begin in the [`Device`]; a BAR has less than 4 GiB.
pub const fn bar(index: usize) -> u64 {
    (index as u64) << 32
}

/// What the device signals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interrupts {
    /// Level of the interrupt pin; low while MSI-X is enabled.
    pub pin: bool,
    /// One bit for each MSI-X vector that is to be signalled and has not been
    /// [`delivered`](PciDevice::delivered): the pending bits.
    pub pending: u32,
}

/// A part of a BAR that KVM can hand to the device without a trip through the VMM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FastPath {
    /// Any write at exactly this place is [`Device::notified`] of `event`.
    Doorbell {
        /// Which BAR.
        bar: usize,
        /// Where in it.
        offset: u64,
        /// The argument of `notified`.
        event: usize,
    },
    /// Registers that are not mapped: every access is one to the [`Device`].
    Registers {
        /// Which BAR.
        bar: usize,
        /// Where in it.
        offset: u64,
        /// Bytes.
        size: u64,
    },
}

/// A part of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// DMA address.
    pub address: u64,
    /// Bytes.
    pub length: u64,
}

impl Range {
    /// Whether they have a byte in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        let starts_in = |a: &Self, b: &Self| {
            a.address >= b.address && a.address - b.address < b.length && a.length > 0
        };
        starts_in(self, other) || starts_in(other, self)
    }
}

/// What has to be done with copies of memory before the device goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer<'a> {
    /// Tells it from every other transfer of the device.
    pub number: u64,
    /// Which way.
    pub direction: Direction,
    /// What, in this order.
    pub ranges: &'a [Range],
}

/// Which way a [`Transfer`] goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The copies are to be brought up to date.
    Fetch,
    /// They are to be written back.
    WriteBack,
}

/// A PCI device.
pub trait PciDevice: Device {
    /// Bytes of each BAR: 0 for one that is not there, else a power of two of at least 16.
    fn bar_sizes(&self) -> [u32; BARS];

    /// Whether it has an interrupt pin.
    fn has_pin(&self) -> bool;

    /// How many MSI-X vectors it has, at most 32.
    fn msix_vectors(&self) -> u32;

    /// Reads configuration space; `offset + data.len()` is at most [`CONFIG_SIZE`].
    fn read_config(&mut self, offset: usize, data: &mut [u8]);

    /// Writes configuration space; `offset + data.len()` is at most [`CONFIG_SIZE`]. What cannot
    /// be written stays as it is.
    fn write_config(&mut self, offset: usize, data: &[u8]);

    /// The parts of BARs that may bypass the VMM. They do not overlap.
    fn fast_paths(&self) -> Vec<FastPath>;

    /// From now on this is what the device reaches by DMA, instead of what it reached before.
    ///
    /// `copies` are parts of it that are private to this process. The device works on them only
    /// after they were brought up to date, and what it wrote to them has to be written back.
    fn set_memory(&mut self, memory: GuestMemoryMmap, copies: Vec<Range>);

    /// The transfer that [`work`](Device::work) waits for, if it does.
    fn transfer(&self) -> Option<Transfer<'_>>;

    /// The transfer of this number is done, or has failed. One that the device does not wait for
    /// any more means nothing.
    fn transferred(&mut self, number: u64, ok: bool);

    /// Everything as at first, except memory.
    fn reset(&mut self);

    /// What the device signals now.
    fn interrupts(&self) -> Interrupts;

    /// These vectors were signalled.
    fn delivered(&mut self, vectors: u32);

    /// Where its accesses are counted.
    fn state(&self) -> StatePage;
}

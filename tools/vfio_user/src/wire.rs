// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The layout of messages: `docs/interop/vfio-user.rst` of QEMU, and `linux/vfio.h`, from which it
//! takes most structures. Numbers are in host byte order, structures have no padding.

use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What a message asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
#[allow(missing_docs)] // the protocol's own names
pub enum Command {
    Version = 1,
    DmaMap = 2,
    DmaUnmap = 3,
    DeviceGetInfo = 4,
    DeviceGetRegionInfo = 5,
    DeviceGetRegionIoFds = 6,
    DeviceGetIrqInfo = 7,
    DeviceSetIrqs = 8,
    RegionRead = 9,
    RegionWrite = 10,
    DmaRead = 11,
    DmaWrite = 12,
    DeviceReset = 13,
    RegionWriteMulti = 15,
    DeviceFeature = 16,
    MigDataRead = 17,
    MigDataWrite = 18,
}

impl Command {
    /// The command of this number.
    pub fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::Version,
            2 => Self::DmaMap,
            3 => Self::DmaUnmap,
            4 => Self::DeviceGetInfo,
            5 => Self::DeviceGetRegionInfo,
            6 => Self::DeviceGetRegionIoFds,
            7 => Self::DeviceGetIrqInfo,
            8 => Self::DeviceSetIrqs,
            9 => Self::RegionRead,
            10 => Self::RegionWrite,
            11 => Self::DmaRead,
            12 => Self::DmaWrite,
            13 => Self::DeviceReset,
            15 => Self::RegionWriteMulti,
            16 => Self::DeviceFeature,
            17 => Self::MigDataRead,
            18 => Self::MigDataWrite,
            _ => return None,
        })
    }
}

/// Major version of the protocol.
pub const MAJOR: u16 = 0;
/// Highest minor version that this end speaks.
pub const MINOR: u16 = 1;

/// In [`Header::flags`]: what kind of message it is.
pub const TYPE_MASK: u32 = 0xf;
/// A command.
pub const TYPE_COMMAND: u32 = 0;
/// The answer to the command with the same id.
pub const TYPE_REPLY: u32 = 1;
/// In a command: it is not to be answered.
pub const NO_REPLY: u32 = 1 << 4;
/// In an answer: the command failed, and [`Header::error`] says why.
pub const ERROR: u32 = 1 << 5;

/// Bytes of a [`Header`].
pub const HEADER_SIZE: usize = 16;

macro_rules! message_part {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
        )]
        #[repr(C)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
    };
}

message_part!(
    /// What every message begins with.
    Header {
        /// The sender's own; an answer has its command's.
        id: u16,
        /// Number of a [`Command`].
        command: u16,
        /// Bytes of the message, this header included.
        size: u32,
        /// `TYPE_*`, [`NO_REPLY`], [`ERROR`].
        flags: u32,
        /// errno of an answer.
        error: u32,
    }
);

message_part!(
    /// [`Command::Version`]; JSON follows.
    Version {
        /// Must be the same on both ends.
        major: u16,
        /// The lower one counts.
        minor: u16,
    }
);

/// [`DmaMap::flags`]: the device may read.
pub const DMA_READABLE: u32 = 1 << 0;
/// [`DmaMap::flags`]: the device may write.
pub const DMA_WRITEABLE: u32 = 1 << 1;

message_part!(
    /// [`Command::DmaMap`], with a descriptor if the memory can be mapped.
    DmaMap {
        /// Bytes of this structure.
        argsz: u32,
        /// `DMA_*`.
        flags: u32,
        /// Where the memory begins in the descriptor's file.
        offset: u64,
        /// DMA address.
        address: u64,
        /// Bytes.
        size: u64,
    }
);

/// [`DmaUnmap::flags`]: tell which pages were written.
pub const UNMAP_DIRTY_BITMAP: u32 = 1 << 0;
/// [`DmaUnmap::flags`]: unmap everything.
pub const UNMAP_ALL: u32 = 1 << 1;

message_part!(
    /// [`Command::DmaUnmap`]: command and answer.
    DmaUnmap {
        /// Most bytes of an answer.
        argsz: u32,
        /// `UNMAP_*`.
        flags: u32,
        /// As it was mapped.
        address: u64,
        /// As it was mapped.
        size: u64,
    }
);

/// [`DeviceInfo::flags`]: [`Command::DeviceReset`] works.
pub const DEVICE_RESET: u32 = 1 << 0;
/// [`DeviceInfo::flags`]: it is a PCI device.
pub const DEVICE_PCI: u32 = 1 << 1;

message_part!(
    /// [`Command::DeviceGetInfo`]: command and answer.
    DeviceInfo {
        /// Most bytes of an answer; in an answer, those that there are.
        argsz: u32,
        /// `DEVICE_*`.
        flags: u32,
        /// Regions, from 0 on.
        num_regions: u32,
        /// Kinds of interrupts, from 0 on.
        num_irqs: u32,
    }
);

/// BARs are regions 0 to 5.
pub const REGION_BAR0: u32 = 0;
/// Configuration space.
pub const REGION_CONFIG: u32 = 7;
/// Regions of a PCI device: six BARs, expansion ROM, configuration space, VGA.
pub const REGIONS: u32 = 9;

/// [`RegionInfo::flags`]: can be read.
pub const REGION_READ: u32 = 1 << 0;
/// [`RegionInfo::flags`]: can be written.
pub const REGION_WRITE: u32 = 1 << 1;

message_part!(
    /// [`Command::DeviceGetRegionInfo`]: command and answer.
    RegionInfo {
        /// Most bytes of an answer; in an answer, those that there are.
        argsz: u32,
        /// `REGION_*`.
        flags: u32,
        /// Which region.
        index: u32,
        /// Where capabilities begin.
        cap_offset: u32,
        /// Bytes of the region.
        size: u64,
        /// For `mmap(2)`.
        offset: u64,
    }
);

message_part!(
    /// [`Command::DeviceGetRegionIoFds`]: command; and answer, which [`SubRegion`]s follow.
    RegionIoFds {
        /// Most bytes of an answer; in an answer, those that there are.
        argsz: u32,
        /// Zero.
        flags: u32,
        /// Which region.
        index: u32,
        /// Sub-regions that follow.
        count: u32,
    }
);

/// [`SubRegion::kind`]: `VFIO_USER_IO_FD_TYPE_IOEVENTFD`.
pub const IO_FD_IOEVENTFD: u32 = 0;
/// [`SubRegion::kind`]: `VFIO_USER_IO_FD_TYPE_IOREGIONFD`.
pub const IO_FD_IOREGIONFD: u32 = 1;

message_part!(
    /// A part of a region and the descriptor that its accesses go to.
    SubRegion {
        /// Where it begins in the region.
        offset: u64,
        /// Bytes; 0 for an ioeventfd of writes of any width.
        size: u64,
        /// Which of the answer's descriptors.
        fd_index: u32,
        /// `IO_FD_*`.
        kind: u32,
        /// `KVM_IOEVENTFD_FLAG_*` or `KVM_IOREGION_*`.
        flags: u32,
        /// Zero.
        padding: u32,
        /// Of an ioregionfd its `user_data`, of an ioeventfd its `datamatch`.
        data: u64,
    }
);

/// The interrupt pin.
pub const IRQ_PIN: u32 = 0;
/// MSI-X.
pub const IRQ_MSIX: u32 = 2;
/// Kinds of interrupts of a PCI device: pin, MSI, MSI-X, error, request.
pub const IRQS: u32 = 5;

/// [`IrqInfo::flags`]: signalled by eventfd.
pub const IRQ_EVENTFD: u32 = 1 << 0;
/// [`IrqInfo::flags`]: can be masked.
pub const IRQ_MASKABLE: u32 = 1 << 1;
/// [`IrqInfo::flags`]: masks itself when it is signalled.
pub const IRQ_AUTOMASKED: u32 = 1 << 2;

message_part!(
    /// [`Command::DeviceGetIrqInfo`]: command and answer.
    IrqInfo {
        /// Most bytes of an answer; in an answer, those that there are.
        argsz: u32,
        /// `IRQ_*`.
        flags: u32,
        /// Which kind.
        index: u32,
        /// Interrupts of the kind.
        count: u32,
    }
);

/// [`IrqSet::flags`]: the action is for all interrupts named.
pub const SET_NONE: u32 = 1 << 0;
/// [`IrqSet::flags`]: a byte for each follows that says whether the action is for it.
pub const SET_BOOL: u32 = 1 << 1;
/// [`IrqSet::flags`]: descriptors, one for each, or none to take them away.
pub const SET_EVENTFD: u32 = 1 << 2;
/// [`IrqSet::flags`]: mask.
pub const SET_MASK: u32 = 1 << 3;
/// [`IrqSet::flags`]: unmask.
pub const SET_UNMASK: u32 = 1 << 4;
/// [`IrqSet::flags`]: signal, or what to signal.
pub const SET_TRIGGER: u32 = 1 << 5;

message_part!(
    /// [`Command::DeviceSetIrqs`].
    IrqSet {
        /// Bytes of this structure and what follows it.
        argsz: u32,
        /// One of `SET_NONE`, `SET_BOOL`, `SET_EVENTFD`, and one of the others.
        flags: u32,
        /// Which kind.
        index: u32,
        /// The first interrupt.
        start: u32,
        /// How many.
        count: u32,
    }
);

message_part!(
    /// [`Command::RegionRead`], [`Command::RegionWrite`]: command and answer; data follow where
    /// there are any.
    RegionAccess {
        /// Where in the region.
        offset: u64,
        /// Which region.
        region: u32,
        /// Bytes.
        count: u32,
    }
);

message_part!(
    /// [`Command::DmaRead`], [`Command::DmaWrite`]: command and answer; data follow where there are
    /// any.
    DmaAccess {
        /// DMA address.
        address: u64,
        /// Bytes.
        count: u64,
    }
);

message_part!(
    /// One write of [`Command::RegionWriteMulti`], after a 64-bit count of them.
    MultiWrite {
        /// Where in the region.
        offset: u64,
        /// Which region.
        region: u32,
        /// Bytes, up to 8.
        count: u32,
        /// The data, from the beginning on.
        data: [u8; 8],
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_protocol() {
        assert_eq!(size_of::<Header>(), HEADER_SIZE);
        assert_eq!(size_of::<Version>(), 4);
        assert_eq!(size_of::<DmaMap>(), 32);
        assert_eq!(size_of::<DmaUnmap>(), 24);
        assert_eq!(size_of::<DeviceInfo>(), 16);
        assert_eq!(size_of::<RegionInfo>(), 32);
        assert_eq!(size_of::<RegionIoFds>(), 16);
        assert_eq!(size_of::<SubRegion>(), 40);
        assert_eq!(size_of::<IrqInfo>(), 16);
        assert_eq!(size_of::<IrqSet>(), 20);
        assert_eq!(size_of::<RegionAccess>(), 16);
        assert_eq!(size_of::<DmaAccess>(), 16);
        assert_eq!(size_of::<MultiWrite>(), 24);
    }

    #[test]
    fn a_number_is_a_command_or_none() {
        for number in 0..=u16::MAX {
            if let Some(command) = Command::from_number(number) {
                assert_eq!(command as u16, number);
            }
        }
        assert_eq!(Command::from_number(14), None);
    }
}

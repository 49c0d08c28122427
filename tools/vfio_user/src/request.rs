// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A client's command, checked as far as it can be without the device.
//!
//! A command that is not one is refused with the errno that the client gets: `EINVAL` for lengths,
//! numbers and flags that cannot be, `ENOTSUP` for what this server does not do.

use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::wire::{self, Command};

/// Most bytes of data in one message, and what this server tells clients so.
pub const MAX_DATA: usize = 1 << 20;

/// Most bytes of one message.
pub const MAX_MESSAGE: usize = wire::HEADER_SIZE + size_of::<wire::RegionAccess>() + MAX_DATA;

/// Most descriptors with one message, and what this server tells clients so.
pub const MAX_FDS: usize = 16;

/// What a client asks for.
#[derive(Debug, PartialEq)]
pub enum Request<'a> {
    /// The first command.
    Version {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
        /// JSON without its terminating NUL; perhaps nothing.
        json: &'a [u8],
    },
    /// Lend memory, with one descriptor or none.
    DmaMap(wire::DmaMap),
    /// Take it back.
    DmaUnmap(wire::DmaUnmap),
    /// What is the device?
    DeviceInfo,
    /// What is this region?
    RegionInfo(u32),
    /// What bypasses of the client has this region?
    RegionIoFds {
        /// Which region.
        index: u32,
        /// Bytes of answer that the client has room for.
        argsz: u32,
    },
    /// What is this kind of interrupt?
    IrqInfo(u32),
    /// Set up interrupts.
    SetIrqs(SetIrqs<'a>),
    /// Read a region.
    RegionRead(wire::RegionAccess),
    /// Write a region.
    RegionWrite {
        /// Which region.
        region: u32,
        /// Where in it.
        offset: u64,
        /// What.
        data: &'a [u8],
    },
    /// Several writes, at least one.
    RegionWriteMulti(&'a [u8]),
    /// Reset the device.
    Reset,
}

/// What [`Request::SetIrqs`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Signal no more.
    Mask,
    /// Signal again.
    Unmask,
    /// Signal now; with descriptors, what to signal.
    Trigger,
}

/// For which interrupts [`Request::SetIrqs`] does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which<'a> {
    /// All that it names.
    All,
    /// Those whose byte is not zero.
    Some(&'a [u8]),
    /// All that it names, with a descriptor for each, or none.
    Events,
}

/// [`Request::SetIrqs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetIrqs<'a> {
    /// Which kind of interrupt.
    pub index: u32,
    /// The first one.
    pub start: u32,
    /// How many.
    pub count: u32,
    /// Which of them.
    pub which: Which<'a>,
    /// What with them.
    pub action: Action,
}

impl<'a> Request<'a> {
    /// Reads the command of this number from `payload`, with which `fds` descriptors came.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: no such command; too short or too long; fields that contradict each other; more
    ///   descriptors than it takes.
    /// - `ENOTSUP`: migration, logging of dirty pages, and the server's own commands.
    pub fn parse(number: u16, payload: &'a [u8], fds: usize) -> Result<Self, Errno> {
        let command = Command::from_number(number).ok_or(Errno::INVAL)?;
        let most = match command {
            Command::DmaMap => 1,
            Command::DeviceSetIrqs => MAX_FDS,
            _ => 0,
        };
        if fds > most {
            return Err(Errno::INVAL);
        }
        Self::of(command, payload, fds)
    }

    fn of(command: Command, payload: &'a [u8], fds: usize) -> Result<Self, Errno> {
        Ok(match command {
            Command::Version => Self::version(payload)?,
            Command::DmaMap => Self::DmaMap(dma_map(payload, fds)?),
            Command::DmaUnmap => Self::DmaUnmap(dma_unmap(payload)?),
            Command::DeviceGetInfo => {
                let info: wire::DeviceInfo = whole(payload)?;
                has_room::<wire::DeviceInfo>(info.argsz)?;
                Self::DeviceInfo
            }
            Command::DeviceGetRegionInfo => {
                let info: wire::RegionInfo = whole(payload)?;
                has_room::<wire::RegionInfo>(info.argsz)?;
                Self::RegionInfo(info.index)
            }
            Command::DeviceGetRegionIoFds => Self::region_io_fds(payload)?,
            Command::DeviceGetIrqInfo => {
                let info: wire::IrqInfo = whole(payload)?;
                has_room::<wire::IrqInfo>(info.argsz)?;
                Self::IrqInfo(info.index)
            }
            Command::DeviceSetIrqs => Self::SetIrqs(SetIrqs::parse(payload, fds)?),
            Command::RegionRead => Self::RegionRead(region_read(payload)?),
            Command::RegionWrite => Self::region_write(payload)?,
            Command::RegionWriteMulti => Self::RegionWriteMulti(multi_writes(payload)?),
            Command::DeviceReset if payload.is_empty() => Self::Reset,
            Command::DeviceReset => return Err(Errno::INVAL),
            Command::DeviceFeature
            | Command::MigDataRead
            | Command::MigDataWrite
            | Command::DmaRead
            | Command::DmaWrite => return Err(Errno::NOTSUP),
        })
    }

    fn version(payload: &'a [u8]) -> Result<Self, Errno> {
        let (version, json) = head::<wire::Version>(payload)?;
        let json = match json.split_last() {
            None => json,
            Some((0, json)) => json,
            Some(_) => return Err(Errno::INVAL),
        };
        Ok(Self::Version {
            major: version.major,
            minor: version.minor,
            json,
        })
    }

    fn region_io_fds(payload: &'a [u8]) -> Result<Self, Errno> {
        let wanted: wire::RegionIoFds = whole(payload)?;
        has_room::<wire::RegionIoFds>(wanted.argsz)?;
        if wanted.flags != 0 || wanted.count != 0 {
            return Err(Errno::INVAL);
        }
        Ok(Self::RegionIoFds {
            index: wanted.index,
            argsz: wanted.argsz,
        })
    }

    fn region_write(payload: &'a [u8]) -> Result<Self, Errno> {
        let (access, data) = head::<wire::RegionAccess>(payload)?;
        if access.count as usize != data.len() {
            return Err(Errno::INVAL);
        }
        Ok(Self::RegionWrite {
            region: access.region,
            offset: access.offset,
            data,
        })
    }
}

impl<'a> SetIrqs<'a> {
    fn parse(payload: &'a [u8], fds: usize) -> Result<Self, Errno> {
        let (set, data) = head::<wire::IrqSet>(payload)?;
        let action = match set.flags & !(wire::SET_NONE | wire::SET_BOOL | wire::SET_EVENTFD) {
            wire::SET_MASK => Action::Mask,
            wire::SET_UNMASK => Action::Unmask,
            wire::SET_TRIGGER => Action::Trigger,
            _ => return Err(Errno::INVAL),
        };
        let count = set.count as usize;
        let which = match set.flags & (wire::SET_NONE | wire::SET_BOOL | wire::SET_EVENTFD) {
            wire::SET_NONE if data.is_empty() && fds == 0 => Which::All,
            wire::SET_BOOL if data.len() == count && fds == 0 => Which::Some(data),
            wire::SET_EVENTFD if data.is_empty() && (fds == 0 || fds == count) => Which::Events,
            _ => return Err(Errno::INVAL),
        };
        if which == Which::Events && action != Action::Trigger {
            return Err(Errno::NOTSUP);
        }
        if set.argsz as usize != payload.len() || set.start.checked_add(set.count).is_none() {
            return Err(Errno::INVAL);
        }
        Ok(Self {
            index: set.index,
            start: set.start,
            count: set.count,
            which,
            action,
        })
    }
}

/// A structure and nothing else.
fn whole<T: FromBytes>(payload: &[u8]) -> Result<T, Errno> {
    T::read_from_bytes(payload).map_err(|_| Errno::INVAL)
}

/// A structure and what follows it.
fn head<T: FromBytes + KnownLayout + Immutable>(payload: &[u8]) -> Result<(T, &[u8]), Errno> {
    T::read_from_prefix(payload).map_err(|_| Errno::INVAL)
}

/// The client must at least have room for the structure that it asks for.
fn has_room<T>(argsz: u32) -> Result<(), Errno> {
    if (argsz as usize) < size_of::<T>() {
        return Err(Errno::INVAL);
    }
    Ok(())
}

fn dma_map(payload: &[u8], fds: usize) -> Result<wire::DmaMap, Errno> {
    let map: wire::DmaMap = whole(payload)?;
    let known = wire::DMA_READABLE | wire::DMA_WRITEABLE;
    let is_bad = map.argsz as usize != payload.len()
        || map.flags & !known != 0
        || map.flags & known == 0
        || map.size == 0
        || map.address.checked_add(map.size).is_none()
        || map.offset.checked_add(map.size).is_none()
        || fds == 0 && map.offset != 0;
    if is_bad {
        return Err(Errno::INVAL);
    }
    Ok(map)
}

fn dma_unmap(payload: &[u8]) -> Result<wire::DmaUnmap, Errno> {
    let (unmap, rest) = head::<wire::DmaUnmap>(payload)?;
    if unmap.flags & wire::UNMAP_DIRTY_BITMAP != 0 {
        return Err(Errno::NOTSUP);
    }
    let all = unmap.flags == wire::UNMAP_ALL;
    let is_bad = !rest.is_empty()
        || unmap.flags & !wire::UNMAP_ALL != 0
        || all && (unmap.address, unmap.size) != (0, 0)
        || (unmap.argsz as usize) < size_of::<wire::DmaUnmap>();
    if is_bad {
        return Err(Errno::INVAL);
    }
    Ok(unmap)
}

fn region_read(payload: &[u8]) -> Result<wire::RegionAccess, Errno> {
    let access: wire::RegionAccess = whole(payload)?;
    if access.count as usize > MAX_DATA {
        return Err(Errno::INVAL);
    }
    Ok(access)
}

/// The writes, as the bytes of an array of [`wire::MultiWrite`].
fn multi_writes(payload: &[u8]) -> Result<&[u8], Errno> {
    let (count, writes) = head::<u64>(payload)?;
    let size = size_of::<wire::MultiWrite>();
    let found = (writes.len() / size) as u64;
    if writes.len() % size != 0 || count != found || count == 0 {
        return Err(Errno::INVAL);
    }
    Ok(writes)
}

/// The bytes of a message's part.
pub(crate) fn bytes_of<T: IntoBytes + Immutable>(part: &T) -> Vec<u8> {
    part.as_bytes().to_vec()
}

#[cfg(test)]
mod tests;

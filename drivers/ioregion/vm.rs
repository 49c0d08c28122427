// SPDX-License-Identifier: GPL-2.0-only

//! The regions of a VM.

use crate::{
    channel::Channel,
    region::Region, //
};
use ioregion_dispatch::{
    regions,
    spec::{
        Bus,
        Range,
        Spec, //
    },
};
use ioregion_wire::uapi::{
    KvmIoregion,
    KVM_IOREGION_MAX, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};
use kvm_ext::{
    Direction,
    Io,
    PeerFile, //
};
use zerocopy::FromBytes;

/// What `ioregion` keeps of a VM.
#[pin_data]
pub(crate) struct Vm {
    #[pin]
    buses: Mutex<Buses>,
}

/// Regions sorted by address, one list per bus.
struct Buses {
    mmio: KVec<Arc<Region>>,
    pio: KVec<Arc<Region>>,
}

impl Vm {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            buses <- new_mutex!(Buses {
                mmio: KVec::new(),
                pio: KVec::new(),
            }),
        })
    }

    /// The region that an access belongs to.
    pub(crate) fn find(&self, io: &Io<'_>) -> Option<Arc<Region>> {
        let mut buses = self.buses.lock();
        let bus = buses.bus(if io.is_pio() { Bus::Pio } else { Bus::Mmio });
        regions::find(bus, io.addr(), io.element_size() as u64, io.is_write()).cloned()
    }

    /// `KVM_SET_IOREGION`.
    ///
    /// # Errors
    ///
    /// - `EFAULT`: the argument cannot be read.
    /// - `EINVAL`: it does not describe a region (see [`Spec::parse`]), or a file is neither a
    ///   pipe nor a socket, or is in non-blocking mode.
    /// - `EBADF`: a descriptor is not open for its direction.
    /// - `EEXIST`: the region overlaps another one.
    /// - `ENOSPC`: the bus has [`KVM_IOREGION_MAX`] regions.
    /// - `ENOENT`: there is no region of exactly this range to remove.
    pub(crate) fn set_ioregion(&self, arg: UserPtr) -> Result<isize> {
        let mut bytes = [0; size_of::<KvmIoregion>()];
        UserSlice::new(arg, bytes.len())
            .reader()
            .read_slice(&mut bytes)?;
        let arg = KvmIoregion::read_from_bytes(&bytes).map_err(|_| EINVAL)?;
        let spec = Spec::parse(&arg).map_err(|_| EINVAL)?;
        match spec.deassign {
            true => self.remove(&spec)?,
            false => self.add(spec, &arg)?,
        }
        Ok(0)
    }

    fn add(&self, spec: Spec, arg: &KvmIoregion) -> Result {
        let commands = PeerFile::from_fd(arg.write_fd, Direction::Write)?;
        let replies = match spec.range.is_empty() {
            // A doorbell never has a reply.
            true => None,
            false => Some(PeerFile::from_fd(arg.read_fd, Direction::Read)?),
        };
        let mut buses = self.buses.lock();
        let at = buses.vacancy(spec.bus, &spec.range)?;
        let channel = buses.channel(replies)?;
        let region = Region::new(spec, arg.user_data, commands, channel);
        let region = Arc::new(region, GFP_KERNEL_ACCOUNT)?;
        let bus = buses.bus(spec.bus);
        bus.reserve(1, GFP_KERNEL_ACCOUNT)?;
        bus.insert_within_capacity(at, region).map_err(|_| ENOMEM)
    }

    fn remove(&self, spec: &Spec) -> Result {
        let region = {
            let mut buses = self.buses.lock();
            let bus = buses.bus(spec.bus);
            let at = regions::position(bus, &spec.range).ok_or(ENOENT)?;
            bus.remove(at).map_err(|_| ENOENT)?
        };
        region.remove();
        Ok(())
    }
}

impl Buses {
    fn bus(&mut self, bus: Bus) -> &mut KVec<Arc<Region>> {
        match bus {
            Bus::Mmio => &mut self.mmio,
            Bus::Pio => &mut self.pio,
        }
    }

    fn vacancy(&mut self, bus: Bus, range: &Range) -> Result<usize> {
        let bus = self.bus(bus);
        if bus.len() >= KVM_IOREGION_MAX {
            return Err(ENOSPC);
        }
        regions::insert_position(bus, range).ok_or(EEXIST)
    }

    /// The channel that has its replies from this file: that of another region, or a new one.
    fn channel(&self, replies: Option<PeerFile>) -> Result<Arc<Channel>> {
        if let Some(file) = &replies {
            let mut channels = [&self.mmio, &self.pio]
                .into_iter()
                .flatten()
                .map(|region| region.channel());
            if let Some(channel) = channels.find(|channel| channel.replies_come_from(file)) {
                return Ok(channel.clone());
            }
        }
        Channel::new(replies)
    }
}

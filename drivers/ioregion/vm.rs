// SPDX-License-Identifier: GPL-2.0-only

//! The regions of a VM.

use crate::{
    channel::{
        Channel,
        FrameChannel,
        RingChannel, //
    },
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
    KvmIoregionChannel,
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
    /// Channels in shared memory that regions use, or may come to use.
    rings: KVec<Arc<RingChannel>>,
}

impl Vm {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            buses <- new_mutex!(Buses {
                mmio: KVec::new(),
                pio: KVec::new(),
                rings: KVec::new(),
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
    /// - `EBADF`: a descriptor is not open for its direction, or is not a channel of this VM.
    /// - `EEXIST`: the region overlaps another one.
    /// - `ENOSPC`: the bus has [`KVM_IOREGION_MAX`] regions.
    /// - `ENOENT`: there is no region of exactly this range to remove.
    pub(crate) fn set_ioregion(&self, arg: UserPtr) -> Result<isize> {
        let arg: KvmIoregion = read_argument::<_, { size_of::<KvmIoregion>() }>(arg)?;
        let spec = Spec::parse(&arg).map_err(|_| EINVAL)?;
        match spec.deassign {
            true => self.remove(&spec)?,
            false => self.add(spec, &arg)?,
        }
        Ok(0)
    }

    /// `KVM_CREATE_IOREGION_CHANNEL`: yields the descriptor.
    ///
    /// # Errors
    ///
    /// - `EFAULT`: the argument cannot be read.
    /// - `EINVAL`: a channel cannot be so.
    /// - `EMFILE`, `ENOMEM`.
    pub(crate) fn create_channel(&self, arg: UserPtr) -> Result<isize> {
        let arg: KvmIoregionChannel = read_argument::<_, { size_of::<KvmIoregionChannel>() }>(arg)?;
        let ring = RingChannel::new(&arg)?;
        let mut buses = self.buses.lock();
        // One whose device is gone cannot be named any more.
        buses.rings.retain(|ring| !ring.shared().device_is_gone());
        buses.rings.push(ring.clone(), GFP_KERNEL_ACCOUNT)?;
        match ring.shared().open() {
            Ok(fd) => Ok(fd as isize),
            Err(error) => {
                buses.rings.pop();
                Err(error)
            }
        }
    }

    fn add(&self, spec: Spec, arg: &KvmIoregion) -> Result {
        let files = match spec.channel {
            true => None,
            false => Some(Files::open(&spec, arg)?),
        };
        let mut buses = self.buses.lock();
        let at = buses.vacancy(spec.bus, &spec.range)?;
        let channel = match files {
            Some(files) => buses.frames(files)?,
            None => buses.ring(arg.write_fd)?,
        };
        let region = Region::new(spec, arg.user_data, channel);
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
            let region = bus.remove(at).map_err(|_| ENOENT)?;
            buses.forget_unused(region.channel());
            region
        };
        region.remove();
        Ok(())
    }
}

/// The files of a channel that carries frames.
struct Files {
    commands: PeerFile,
    /// `None` for a doorbell, which never has a reply.
    replies: Option<PeerFile>,
}

impl Files {
    fn open(spec: &Spec, arg: &KvmIoregion) -> Result<Self> {
        Ok(Self {
            commands: PeerFile::from_fd(arg.write_fd, Direction::Write)?,
            replies: match spec.range.is_empty() {
                true => None,
                false => Some(PeerFile::from_fd(arg.read_fd, Direction::Read)?),
            },
        })
    }
}

/// Reads the argument of an ioctl, `N` bytes.
fn read_argument<T: FromBytes, const N: usize>(arg: UserPtr) -> Result<T> {
    let mut bytes = [0; N];
    UserSlice::new(arg, N).reader().read_slice(&mut bytes)?;
    T::read_from_bytes(&bytes).map_err(|_| EINVAL)
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

    /// The channel over these files. It shares the order of commands with another region that
    /// has its replies from the same one.
    fn frames(&self, files: Files) -> Result<Channel> {
        let shared = files.replies.as_ref().and_then(|file| {
            let regions = [&self.mmio, &self.pio].into_iter().flatten();
            let mut orders = regions.filter_map(|region| match region.channel() {
                Channel::Frames { order, .. } => Some(order),
                Channel::Ring(_) => None,
            });
            orders.find(|order| order.replies_come_from(file)).cloned()
        });
        Ok(Channel::Frames {
            commands: files.commands,
            order: match shared {
                Some(order) => order,
                None => FrameChannel::new(files.replies)?,
            },
        })
    }

    /// A ring that has lost its last region is at its end: the device is told when the last
    /// access in it is over.
    fn forget_unused(&mut self, channel: &Channel) {
        let Channel::Ring(ring) = channel else {
            return;
        };
        let is_it = |other: &Channel| matches!(other, Channel::Ring(r) if Arc::ptr_eq(r, ring));
        let mut regions = [&self.mmio, &self.pio].into_iter().flatten();
        if !regions.any(|region| is_it(region.channel())) {
            self.rings.retain(|other| !Arc::ptr_eq(other, ring));
        }
    }

    /// The channel of this VM behind a descriptor.
    fn ring(&self, fd: i32) -> Result<Channel> {
        let mut rings = self.rings.iter();
        let ring = rings.find(|ring| ring.shared().is_behind(fd));
        ring.cloned().map(Channel::Ring).ok_or(EBADF)
    }
}

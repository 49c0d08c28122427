// SPDX-License-Identifier: GPL-2.0-only

//! Both buses of a VM, and the channels of their regions.

use crate::{
    channel::{
        Channel,
        FrameChannel,
        RingChannel, //
    },
    table::Table, //
};
use ioregion_dispatch::spec::{
    Bus,
    Spec, //
};
use ioregion_wire::uapi::KvmIoregion;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kvm_ext::{
    Direction,
    PeerFile, //
};

/// Both buses of a VM, and the channels in shared memory.
pub(crate) struct Buses {
    mmio: Arc<Table>,
    pio: Arc<Table>,
    /// Those that regions use, or may come to use.
    rings: KVec<Arc<RingChannel>>,
}

impl Buses {
    /// Without regions.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            mmio: Arc::new(Table::default(), GFP_KERNEL_ACCOUNT)?,
            pio: Arc::new(Table::default(), GFP_KERNEL_ACCOUNT)?,
            rings: KVec::new(),
        })
    }

    pub(crate) fn bus(&self, bus: Bus) -> &Arc<Table> {
        match bus {
            Bus::Mmio => &self.mmio,
            Bus::Pio => &self.pio,
        }
    }

    /// Puts a table in place of the one before.
    pub(crate) fn set(&mut self, bus: Bus, table: Arc<Table>) {
        match bus {
            Bus::Mmio => self.mmio = table,
            Bus::Pio => self.pio = table,
        }
    }

    /// The channel over these files. It shares the order of commands with another region that
    /// has its replies from the same one.
    pub(crate) fn frames(&self, files: Files) -> Result<Channel> {
        let shared = files.replies.as_ref().and_then(|file| {
            let mut orders = self.channels().filter_map(|channel| match channel {
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

    /// The channel in shared memory behind a descriptor.
    pub(crate) fn ring(&self, fd: i32) -> Result<Channel> {
        let mut rings = self.rings.iter();
        let ring = rings.find(|ring| ring.shared().is_behind(fd));
        ring.cloned().map(Channel::Ring).ok_or(EBADF)
    }

    /// Opens a new channel in shared memory for regions to come. Yields its descriptor.
    pub(crate) fn open_ring(&mut self, ring: Arc<RingChannel>) -> Result<i32> {
        // One whose device is gone cannot be named any more.
        self.rings.retain(|ring| !ring.shared().device_is_gone());
        self.rings.push(ring.clone(), GFP_KERNEL_ACCOUNT)?;
        ring.shared().open().inspect_err(|_| {
            self.rings.pop();
        })
    }

    /// A ring that has lost its last region is at its end: the device is told when the last
    /// access in it is over.
    pub(crate) fn forget_unused(&mut self, channel: &Channel) {
        let Channel::Ring(ring) = channel else {
            return;
        };
        let is_it = |other: &Channel| matches!(other, Channel::Ring(r) if Arc::ptr_eq(r, ring));
        if !self.channels().any(is_it) {
            self.rings.retain(|other| !Arc::ptr_eq(other, ring));
        }
    }

    fn channels(&self) -> impl Iterator<Item = &Channel> {
        let entries = [&self.mmio, &self.pio]
            .into_iter()
            .flat_map(|bus| bus.iter());
        entries.map(|entry| entry.region.channel())
    }
}

/// The files of a channel that carries frames.
pub(crate) struct Files {
    commands: PeerFile,
    /// `None` for a doorbell, which never has a reply.
    replies: Option<PeerFile>,
}

impl Files {
    /// Those that the argument of `KVM_SET_IOREGION` names.
    pub(crate) fn open(spec: &Spec, arg: &KvmIoregion) -> Result<Self> {
        Ok(Self {
            commands: PeerFile::from_fd(arg.write_fd, Direction::Write)?,
            replies: match spec.range.is_empty() {
                true => None,
                false => Some(PeerFile::from_fd(arg.read_fd, Direction::Read)?),
            },
        })
    }
}

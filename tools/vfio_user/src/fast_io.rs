// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Ways from KVM to the device that bypass the client: an ioregionfd for registers, an ioeventfd
//! for each doorbell. They live as long as the session.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::event::{eventfd, EventfdFlags};
use shunt::channel::{pair, Endpoint, Transport};
use shunt::counters::Origin;
use shunt::device::perform;
use shunt::pci::{bar, FastPath, PciDevice};
use shunt::serve::{ServeError, ServedChannel};

use crate::wire::{self, SubRegion};

/// The descriptors of all fast paths.
#[derive(Debug)]
pub(crate) struct FastIo {
    /// KVM's end of the channel, which all registers share.
    kvm_end: Endpoint,
    /// `None`: it carried something else than commands, and was closed.
    channel: Option<ServedChannel>,
    doorbells: Vec<Doorbell>,
    paths: Vec<FastPath>,
}

#[derive(Debug)]
struct Doorbell {
    /// What the device calls it.
    number: usize,
    event: OwnedFd,
}

/// What a client gets for one region.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    pub(crate) sub_regions: Vec<SubRegion>,
    pub(crate) fds: Vec<OwnedFd>,
}

impl FastIo {
    /// Makes the descriptors for the paths of `device`.
    pub(crate) fn new(device: &impl PciDevice) -> io::Result<Self> {
        let (kvm_end, end) = pair(Transport::Seqpacket)?;
        let paths = device.fast_paths();
        let mut doorbells = Vec::new();
        for path in &paths {
            if let FastPath::Doorbell { event: number, .. } = *path {
                let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
                doorbells.push(Doorbell { number, event });
            }
        }
        Ok(Self {
            kvm_end,
            channel: Some(ServedChannel::new(Origin::Kvm, end)?),
            doorbells,
            paths,
        })
    }

    /// The parts of BAR `index` and their descriptors, of which the client takes up to `limit`.
    pub(crate) fn offer(&self, index: usize, limit: usize) -> io::Result<Offer> {
        let mut offer = Offer::default();
        for path in &self.paths {
            let (bar, fd) = match path {
                FastPath::Registers { bar, .. } => (bar, self.kvm_end.read_fd()),
                FastPath::Doorbell { bar, event, .. } => (bar, self.doorbell(*event)?.as_fd()),
            };
            if *bar == index && offer.fds.len() < limit {
                offer
                    .sub_regions
                    .push(sub_region(path, offer.fds.len() as u32));
                offer.fds.push(fd.try_clone_to_owned()?);
            }
        }
        Ok(offer)
    }

    fn doorbell(&self, number: usize) -> io::Result<&OwnedFd> {
        let mut doorbells = self.doorbells.iter();
        let found = doorbells.find(|doorbell| doorbell.number == number);
        Ok(&found.ok_or(io::ErrorKind::NotFound)?.event)
    }

    /// What [`serve_channel`](Self::serve_channel) waits for, while there is a channel.
    pub(crate) fn channel_fd(&self) -> Option<RawFd> {
        self.channel.as_ref().map(ServedChannel::read_fd)
    }

    /// What [`take_doorbell`](Self::take_doorbell) waits for, by place.
    pub(crate) fn doorbell_fds(&self) -> impl Iterator<Item = RawFd> + '_ {
        self.doorbells
            .iter()
            .map(|doorbell| doorbell.event.as_raw_fd())
    }

    /// Carries out an access that came from KVM.
    pub(crate) fn serve_channel<D: PciDevice>(&mut self, device: &mut D) {
        let Some(channel) = &mut self.channel else {
            return;
        };
        if let Err(e) = serve_one(channel, device) {
            log::warn!("the channel for KVM is closed: {e}");
            // Closing its descriptor takes it out of the epoll set.
            self.channel = None;
        } else if channel.is_closed() || channel.is_blocked() {
            // KVM takes each reply before it sends the next command of that vCPU.
            self.channel = None;
        }
    }

    /// Tells the device of a doorbell.
    pub(crate) fn take_doorbell<D: PciDevice>(&mut self, place: usize, device: &mut D) {
        let doorbell = &self.doorbells[place];
        // There is nothing to read when the client itself has read it.
        let mut count = [0; 8];
        if rustix::io::read(&doorbell.event, &mut count).is_ok() {
            device.notified(doorbell.number);
        }
    }
}

fn serve_one<D: PciDevice>(channel: &mut ServedChannel, device: &mut D) -> Result<(), ServeError> {
    let state = device.state();
    channel.receive(|command| perform(device, command, Origin::Kvm, state.counters()))?;
    channel.send()
}

fn sub_region(path: &FastPath, fd_index: u32) -> SubRegion {
    match *path {
        FastPath::Registers {
            bar: index,
            offset,
            size,
        } => SubRegion {
            offset,
            size,
            fd_index,
            kind: wire::IO_FD_IOREGIONFD,
            data: bar(index) + offset,
            ..SubRegion::default()
        },
        FastPath::Doorbell { offset, .. } => SubRegion {
            offset,
            fd_index,
            kind: wire::IO_FD_IOEVENTFD,
            ..SubRegion::default()
        },
    }
}

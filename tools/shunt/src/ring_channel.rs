// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A channel in shared memory: the device's end.
//!
//! KVM puts a guest's accesses into a ring that it shares with the device process, and finds the
//! answers in a line per vCPU; `Documentation/channel.md` describes both. While the two sides
//! run at the same time, neither makes a system call. A side that finds nothing for a while says
//! in shared memory that it sleeps, and is woken then.
//!
//! [`serve`](crate::serve::serve) takes such a channel together with others. A process that has
//! nothing else to wait for can use [`RingChannel::serve`], which needs one system call for each
//! access instead of two.

#[cfg(test)]
pub(crate) mod fake_kvm;
mod kernel_end;
pub(crate) mod patience;
mod shared_area;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ioregion_ring::completion;
use ioregion_ring::consumer::{self, BadChannel, Consumer};
use ioregion_ring::layout::Layout;
use ioregion_ring::slot::Access;
use ioregion_wire::frame::{BadCommand, Command, Reply};
use ioregion_wire::uapi::IOREGION_CHANNEL_DEVICE_AREA;

use kernel_end::{ChannelFile, KernelEnd};
use patience::Patience;
use shared_area::{SharedArea, Side};

/// Bytes that are sure to be in the kernel's area, and tell how long it is.
const FIRST_PAGE: usize = 4096;

/// Why a channel in shared memory cannot be used, or no longer.
#[derive(Debug)]
pub enum RingError {
    /// It cannot be mapped, or KVM refuses to wake or to wait.
    Io(io::Error),
    /// It is no channel, or one of another version.
    NoChannel(BadChannel),
    /// An access in the ring is none.
    BadCommand(BadCommand),
    /// An access in the ring is of a vCPU that has no line for the answer.
    NoSuchVcpu {
        /// The vCPU.
        vcpu: u32,
        /// How many lines there are.
        lines: usize,
    },
}

impl std::fmt::Display for RingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(e) => e.fmt(f),
            Self::NoChannel(cause) => write!(f, "no channel in shared memory: {cause:?}"),
            Self::BadCommand(cause) => write!(f, "bad command in the ring: {cause:?}"),
            Self::NoSuchVcpu { vcpu, lines } => {
                write!(f, "an access of vCPU {vcpu} in a ring for {lines} vCPUs")
            }
        }
    }
}

impl std::error::Error for RingError {}

impl From<io::Error> for RingError {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

/// An access that was carried out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Done {
    /// The vCPU that sleeps until it is told of the answer.
    pub(crate) sleeper: Option<u32>,
}

/// The device's end of a channel. When it is dropped, and no other process has it, KVM lets the
/// VMM complete what is left.
#[derive(Debug)]
pub struct RingChannel {
    layout: Layout,
    consumer: Consumer,
    kernel: SharedArea,
    own: SharedArea,
    end: Box<dyn KernelEnd>,
}

impl RingChannel {
    /// Maps a channel that [`ioregion::create_channel`](crate::ioregion::create_channel) made.
    ///
    /// # Errors
    ///
    /// [`RingError::Io`] and [`RingError::NoChannel`].
    pub fn open(channel: OwnedFd) -> Result<Self, RingError> {
        let file = channel.try_clone()?;
        Self::map(file.as_fd(), Box::new(ChannelFile(channel)))
    }

    fn map(file: BorrowedFd<'_>, end: Box<dyn KernelEnd>) -> Result<Self, RingError> {
        let first_page = SharedArea::map(file, 0, FIRST_PAGE, Side::Others)?;
        let layout = consumer::layout(&first_page).map_err(RingError::NoChannel)?;
        let kernel = SharedArea::map(file, 0, layout.kernel_area(), Side::Others)?;
        let (at, size) = (IOREGION_CHANNEL_DEVICE_AREA, layout.device_area());
        let own = SharedArea::map(file, at, size, Side::Own)?;
        Ok(Self {
            layout,
            consumer: Consumer::new(layout, &own),
            kernel,
            own,
            end,
        })
    }

    /// Serves this channel alone until there will be no more accesses.
    ///
    /// # Errors
    ///
    /// All but [`RingError::NoChannel`].
    pub fn serve(mut self, mut perform: impl FnMut(&Command) -> Reply) -> Result<(), RingError> {
        let mut patience = Patience::new();
        let mut sleeper = None;
        loop {
            while let Some(access) = self.next()? {
                // It does not wait for other accesses than its own.
                self.wake(sleeper.take())?;
                sleeper = self.carry_out(&access, &mut perform);
            }
            if patience.is_left() {
                // Nobody waits for the end of the look. Otherwise `wait` does both.
                self.wake(sleeper.take())?;
                self.tell_of_room()?;
            }
            if patience.look(|| self.is_ready()) || !self.arm() {
                continue;
            }
            match self.end.wait(sleeper.take()) {
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                other => other?,
            }
            self.disarm();
            patience.was_woken();
        }
    }

    /// Readable while an access is in the ring, after [`arm`](Self::arm); hung up when there
    /// will be no more.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.end.fd()
    }

    /// Whether an access is in the ring.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        self.consumer.is_ready(&self.kernel)
    }

    /// Carries out the next access, if there is one, and answers it. The caller wakes the
    /// sleeper.
    pub(crate) fn take(
        &mut self,
        perform: impl FnOnce(&Command) -> Reply,
    ) -> Result<Option<Done>, RingError> {
        let access = self.next()?;
        Ok(access.map(|access| Done {
            sleeper: self.carry_out(&access, perform),
        }))
    }

    /// Takes the next access out of the ring, if there is one.
    #[inline]
    fn next(&mut self) -> Result<Option<Access>, RingError> {
        let Some(access) = self.consumer.next(&self.own, &self.kernel) else {
            return Ok(None);
        };
        let access = access.map_err(RingError::BadCommand)?;
        let lines = self.layout.vcpus();
        match access.vcpu {
            vcpu if vcpu as usize >= lines => Err(RingError::NoSuchVcpu { vcpu, lines }),
            _ => Ok(Some(access)),
        }
    }

    /// Carries out an access and answers it. Yields the vCPU that sleeps until it is told.
    #[inline]
    fn carry_out(&self, access: &Access, perform: impl FnOnce(&Command) -> Reply) -> Option<u32> {
        let reply = perform(&access.command);
        match access.command.expects_reply {
            true => self.complete(access, reply),
            false => None,
        }
    }

    #[inline]
    fn complete(&self, access: &Access, reply: Reply) -> Option<u32> {
        let Access { vcpu, request, .. } = *access;
        let sleeps =
            completion::complete(&self.own, &self.kernel, vcpu as usize, request, reply.data);
        sleeps.then_some(vcpu)
    }

    /// Wakes a vCPU that sleeps, if one does.
    #[inline]
    pub(crate) fn wake(&self, sleeper: Option<u32>) -> io::Result<()> {
        match sleeper {
            Some(_) => self.end.wake(sleeper),
            None => Ok(()),
        }
    }

    /// Wakes the vCPUs that wait for room in the ring, if some do. To be called after accesses
    /// were taken.
    pub(crate) fn tell_of_room(&self) -> io::Result<()> {
        match Consumer::is_room_wanted(&self.own, &self.kernel) {
            true => self.end.wake(None),
            false => Ok(()),
        }
    }

    /// Asks to be woken by [`fd`](Self::fd); false if there is no need to, because an access is
    /// in the ring.
    #[inline]
    pub(crate) fn arm(&mut self) -> bool {
        self.consumer.arm(&self.own, &self.kernel)
    }

    /// Looks by itself from now on.
    #[inline]
    pub(crate) fn disarm(&self) {
        Consumer::disarm(&self.own);
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A channel in shared memory, and the device's end of it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{fence, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use anyhow::{Context, Result};
use ioregion_ring::consumer::Consumer;
use ioregion_ring::layout::{Layout, WAKE_ME_AT};
use ioregion_ring::memory::Memory;
use ioregion_ring::slot::Access;
use ioregion_ring::{completion, consumer};
use ioregion_wire::frame::Command;
use ioregion_wire::uapi::{
    KvmIoregionChannel, IOREGION_CHANNEL_DEVICE_AREA, IOREGION_CHANNEL_NO_VCPU,
    IOREGION_CHANNEL_WAIT, IOREGION_CHANNEL_WAKE, KVM_CREATE_IOREGION_CHANNEL,
};
use kvm_ioctls::VmFd;
use libc::{c_int, EPIPE, MAP_SHARED, PROT_READ, PROT_WRITE};

/// The argument for [`create`] of most tests: a ring that no test fills by chance.
pub(crate) const USUAL: KvmIoregionChannel = KvmIoregionChannel {
    slots: 64,
    vcpus: rawguest::ram::MAX_VCPUS as u32,
    flags: 0,
    pad: 0,
};

/// `KVM_CREATE_IOREGION_CHANNEL`, raw.
pub(crate) fn create(vm: &VmFd, argument: *const KvmIoregionChannel) -> io::Result<OwnedFd> {
    let number = KVM_CREATE_IOREGION_CHANNEL.into();
    // SAFETY: the kernel reads the argument through copy_from_user: an address that is not
    // mapped is EFAULT, and nothing is written or kept.
    let fd = unsafe { libc::ioctl(vm.as_raw_fd(), number, argument) };
    match fd {
        // SAFETY: the kernel has just made it, for us.
        0.. => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// An ioctl of a channel, raw.
pub(crate) fn ioctl(channel: BorrowedFd, number: u32, vcpu: u64) -> io::Result<()> {
    // SAFETY: the ioctls of a channel take integers.
    match unsafe { libc::ioctl(channel.as_raw_fd(), number.into(), vcpu) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// One area, mapped.
#[derive(Debug)]
pub(crate) struct Area {
    start: *mut AtomicU64,
    size: usize,
}

impl Area {
    /// mmap, raw. Only what was mapped readable may be loaded from.
    pub(crate) fn map(
        channel: BorrowedFd,
        at: u64,
        size: usize,
        protection: c_int,
    ) -> io::Result<Self> {
        let fd = channel.as_raw_fd();
        let at = at as libc::off_t;
        // SAFETY: a new mapping where the kernel likes disturbs nobody.
        let start = unsafe { libc::mmap(ptr::null_mut(), size, protection, MAP_SHARED, fd, at) };
        match start {
            libc::MAP_FAILED => Err(io::Error::last_os_error()),
            _ => Ok(Self {
                start: start.cast(),
                size,
            }),
        }
    }

    /// mprotect to writable.
    pub(crate) fn make_writable(&self) -> io::Result<()> {
        // SAFETY: the mapping is ours and holds atomics only, which others may write anyway.
        match unsafe { libc::mprotect(self.start.cast(), self.size, PROT_READ | PROT_WRITE) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Where it is mapped.
    pub(crate) fn address(&self) -> u64 {
        self.start as u64
    }

    /// How many bytes it has.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at < self.size, "{at:#x} in an area of {:#x}", self.size);
        // SAFETY: the word is in the mapping, which lives as long as `self`.
        unsafe { &*self.start.add(at / 8) }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference into it is left.
        unsafe { libc::munmap(self.start.cast(), self.size) };
    }
}

// SAFETY: all access to it is atomic, and a mapping belongs to no thread.
unsafe impl Send for Area {}
// SAFETY: as above.
unsafe impl Sync for Area {}

impl Memory for Area {
    fn load(&self, at: usize) -> u64 {
        self.word(at).load(Ordering::Relaxed)
    }

    fn load_acquire(&self, at: usize) -> u64 {
        self.word(at).load(Ordering::Acquire)
    }

    fn store(&self, at: usize, value: u64) {
        self.word(at).store(value, Ordering::Relaxed);
    }

    fn store_release(&self, at: usize, value: u64) {
        self.word(at).store(value, Ordering::Release);
    }

    fn full_barrier(&self) {
        fence(Ordering::SeqCst);
    }
}

/// The device's end. It always asks to be woken.
#[derive(Debug)]
pub(crate) struct RingDevice {
    pub(crate) kernel: Area,
    pub(crate) own: Area,
    channel: Arc<OwnedFd>,
    consumer: Consumer,
    unanswered: VecDeque<Access>,
}

impl RingDevice {
    /// The device's end of a channel that nobody has served yet.
    pub(crate) fn new(channel: OwnedFd) -> Result<Self> {
        let head = Area::map(channel.as_fd(), 0, 4096, PROT_READ).context("map the head")?;
        let layout = consumer::layout(&head)
            .map_err(|bad| anyhow::anyhow!("the kernel's area is none: {bad:?}"))?;
        let kernel = Area::map(channel.as_fd(), 0, layout.kernel_area(), PROT_READ)
            .context("map the kernel's area")?;
        let own = Area::map(
            channel.as_fd(),
            IOREGION_CHANNEL_DEVICE_AREA,
            layout.device_area(),
            PROT_READ | PROT_WRITE,
        )
        .context("map the device's area")?;
        let consumer = Consumer::new(layout, &own);
        // Not `Consumer::arm`, which changes its mind if an access is there already.
        own.store(WAKE_ME_AT, 1);
        own.full_barrier();
        Ok(Self {
            kernel,
            own,
            channel: Arc::new(channel),
            consumer,
            unanswered: VecDeque::new(),
        })
    }

    /// The channel for KVM_SET_IOREGION. It keeps nothing open: the device is gone when this
    /// end is.
    pub(crate) fn weak(&self) -> Weak<OwnedFd> {
        Arc::downgrade(&self.channel)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// The descriptor, with nothing mapped any more.
    pub(crate) fn into_fd(self) -> Result<OwnedFd> {
        let Self { channel, .. } = self;
        Arc::into_inner(channel).context("somebody else uses the channel")
    }

    /// The next access, or `None` when KVM has let go of the channel.
    pub(crate) fn next(&mut self) -> Result<Option<Command>> {
        loop {
            if let Some(access) = self.take()? {
                return Ok(Some(access.command));
            }
            match self.ioctl(IOREGION_CHANNEL_WAIT, IOREGION_CHANNEL_NO_VCPU.into()) {
                Ok(()) => {}
                Err(error) if error.raw_os_error() == Some(EPIPE) => return Ok(None),
                Err(error) => return Err(error).context("IOREGION_CHANNEL_WAIT"),
            }
        }
    }

    /// The next access, if it is there. It joins those that are to be answered.
    pub(crate) fn take(&mut self) -> Result<Option<Access>> {
        let Some(access) = self.consumer.next(&self.own, &self.kernel) else {
            return Ok(None);
        };
        let access = access.map_err(|bad| anyhow::anyhow!("KVM's access is none: {bad:?}"))?;
        if access.command.expects_reply {
            self.unanswered.push_back(access);
        }
        Ok(Some(access))
    }

    /// Answers the oldest unanswered access.
    pub(crate) fn reply(&mut self, data: u64) -> Result<()> {
        let access = self.unanswered.pop_front().context("nothing to answer")?;
        self.complete(access.vcpu, access.request, data)
    }

    /// Answers the oldest unanswered access in memory only; a vCPU that sleeps goes on sleeping.
    pub(crate) fn answer_silently(&mut self, data: u64) -> Result<()> {
        let access = self.unanswered.pop_front().context("nothing to answer")?;
        let line = Self::line(access.vcpu as usize);
        self.own.store(line + 8, data);
        self.own.store_release(line, access.request);
        Ok(())
    }

    /// Answers any request.
    pub(crate) fn complete(&self, vcpu: u32, request: u64, data: u64) -> Result<()> {
        let vcpu_sleeps =
            completion::complete(&self.own, &self.kernel, vcpu as usize, request, data);
        if vcpu_sleeps {
            self.ioctl(IOREGION_CHANNEL_WAKE, vcpu.into())
                .context("IOREGION_CHANNEL_WAKE")?;
        }
        Ok(())
    }

    /// To be called before the device waits by other means than [`Self::next`].
    pub(crate) fn make_room(&self) -> Result<()> {
        let wanted = !self.consumer.is_ready(&self.kernel)
            && Consumer::is_room_wanted(&self.own, &self.kernel);
        if wanted {
            self.ioctl(IOREGION_CHANNEL_WAKE, IOREGION_CHANNEL_NO_VCPU.into())
                .context("IOREGION_CHANNEL_WAKE")?;
        }
        Ok(())
    }

    pub(crate) fn ioctl(&self, number: u32, vcpu: u64) -> io::Result<()> {
        ioctl(self.fd(), number, vcpu)
    }

    /// Offset of a vCPU's completion line in the device's area.
    pub(crate) fn line(vcpu: usize) -> usize {
        Layout::completion(vcpu)
    }
}

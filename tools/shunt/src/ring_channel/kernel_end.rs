// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What a device asks of KVM, besides shared memory: to wake and to be woken.

use std::fmt::Debug;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ioregion_wire::uapi::{IOREGION_CHANNEL_NO_VCPU, IOREGION_CHANNEL_WAIT, IOREGION_CHANNEL_WAKE};
use vmm_sys_util::ioctl::ioctl_with_val;

/// KVM's end of a channel in shared memory.
pub(crate) trait KernelEnd: Debug + Send {
    /// Readable while an access is in the ring, if the device has asked to be woken; hung up
    /// when there will be no more.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Wakes a vCPU, if one is given, and whoever waits for room in the ring.
    fn wake(&self, vcpu: Option<u32>) -> io::Result<()>;

    /// Does the same, then sleeps until an access is in the ring, or a signal comes.
    ///
    /// # Errors
    ///
    /// `BrokenPipe`: there will be no more accesses.
    fn wait(&self, vcpu: Option<u32>) -> io::Result<()>;
}

/// The file that `KVM_CREATE_IOREGION_CHANNEL` makes.
#[derive(Debug)]
pub(super) struct ChannelFile(pub(super) OwnedFd);

impl ChannelFile {
    fn ioctl(&self, request: u32, vcpu: Option<u32>) -> io::Result<()> {
        let vcpu = vcpu.unwrap_or(IOREGION_CHANNEL_NO_VCPU);
        // SAFETY: The argument is a number; the kernel touches no memory of this process but the
        // areas, which are accessed as atomics only.
        match unsafe { ioctl_with_val(&self.0, request.into(), vcpu.into()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl KernelEnd for ChannelFile {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn wake(&self, vcpu: Option<u32>) -> io::Result<()> {
        self.ioctl(IOREGION_CHANNEL_WAKE, vcpu)
    }

    fn wait(&self, vcpu: Option<u32>) -> io::Result<()> {
        match self.ioctl(IOREGION_CHANNEL_WAIT, vcpu) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(()),
            other => other,
        }
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A tap interface of the host's (Documentation/networking/tuntap.rst of Linux), with virtio-net's header
//! before each packet.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use virtio_spec::features::Features;
use virtio_spec::net::feature;

use crate::{Wire, HEADER};

const DEVICE: &str = "/dev/net/tun";

/// What a tap may leave to the driver, and the driver's feature for it.
const OFFLOADS: [(Features, libc::c_uint); 3] = [
    (feature::GUEST_CSUM, libc::TUN_F_CSUM),
    (feature::GUEST_TSO4, libc::TUN_F_TSO4),
    (feature::GUEST_TSO6, libc::TUN_F_TSO6),
];

/// The other end of a tap interface, or one of its queues: what it sends is read, what is written it
/// receives.
#[derive(Debug)]
pub struct Tap(File);

impl Tap {
    /// Attaches to the interface of this name, once for each queue; it is made if there is none and we
    /// may.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: the name is too long, or the interface was made with one queue and is to have
    /// several, or the other way round; those of `open(2)`; and `PermissionDenied`: it is another user's.
    pub fn open(name: &str, queues: usize) -> io::Result<Vec<Self>> {
        (0..queues)
            .map(|_| Self::open_queue(name, queues > 1))
            .collect()
    }

    fn open_queue(name: &str, is_one_of_several: bool) -> io::Result<Self> {
        let tap = Self::attach(name, is_one_of_several)?;
        let mut header = HEADER as libc::c_int;
        // SAFETY: It takes a pointer to a `c_int`, for the time of the call.
        unsafe { ioctl(&tap.0, libc::TUNSETVNETHDRSZ, &raw mut header as usize)? };
        Ok(tap)
    }

    /// Makes an interface of this name that stays, for this user to attach to so many queues.
    ///
    /// # Errors
    ///
    /// As of [`open`](Self::open).
    pub fn make(name: &str, owner: u32, queues: usize) -> io::Result<()> {
        let tap = Self::attach(name, queues > 1)?;
        // SAFETY: Neither takes a pointer.
        unsafe {
            ioctl(&tap.0, libc::TUNSETOWNER, owner as usize)?;
            ioctl(&tap.0, libc::TUNSETPERSIST, 1)
        }
    }

    fn attach(name: &str, is_one_of_several: bool) -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(DEVICE)?;
        let several = if is_one_of_several {
            libc::IFF_MULTI_QUEUE
        } else {
            0
        };
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | several;
        let mut request = request(name, flags)?;
        // SAFETY: It takes a pointer to an `ifreq`, for the time of the call.
        unsafe { ioctl(&file, libc::TUNSETIFF, &raw mut request as usize)? };
        Ok(Self(file))
    }
}

impl Wire for Tap {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn set_offloads(&self, features: Features) -> io::Result<()> {
        let chosen = OFFLOADS
            .iter()
            .filter(|(feature, _)| features.has(*feature));
        let flags = chosen.fold(0, |all, (_, flag)| all | flag);
        // SAFETY: It takes no pointer.
        unsafe { ioctl(&self.0, libc::TUNSETOFFLOAD, flags as usize) }
    }

    fn set_in_use(&self, in_use: bool) -> io::Result<()> {
        let flags = match in_use {
            true => libc::IFF_ATTACH_QUEUE,
            false => libc::IFF_DETACH_QUEUE,
        };
        let mut request = request("", flags)?;
        // SAFETY: It takes a pointer to an `ifreq`, for the time of the call.
        unsafe { ioctl(&self.0, libc::TUNSETQUEUE, &raw mut request as usize) }
    }
}

fn request(name: &str, flags: libc::c_int) -> io::Result<libc::ifreq> {
    // SAFETY: It is made of integers and arrays of them; zeroes are a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    Ok(request)
}

/// # Safety
///
/// The argument is what the request takes.
unsafe fn ioctl(file: &File, request: libc::Ioctl, argument: usize) -> io::Result<()> {
    // SAFETY: By the caller's promise; the descriptor is open.
    match unsafe { libc::ioctl(file.as_raw_fd(), request, argument) } {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Whole frames on an interface: packet(7).

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{retry_on_intr, Errno};

use crate::frame::ETHERTYPE;

/// Bytes of frames that may wait for us.
const BUFFER: libc::c_int = 32 << 20;

/// `PACKET_IGNORE_OUTGOING` of `linux/if_packet.h`.
const IGNORE_OUTGOING: libc::c_int = 23;

/// `struct tpacket_stats` of `linux/if_packet.h`.
#[repr(C)]
#[derive(Default)]
struct Statistics {
    packets: libc::c_uint,
    drops: libc::c_uint,
}

/// An interface, for frames of [`ETHERTYPE`].
pub struct Link {
    socket: OwnedFd,
    address: [u8; 6],
}

impl Link {
    /// That of this name, which must be up.
    ///
    /// # Errors
    ///
    /// There is none; those of socket(2), with CAP_NET_RAW lacking first of all.
    pub fn open(interface: &str) -> io::Result<Self> {
        let index = number(interface, "ifindex")?;
        let protocol = ETHERTYPE.to_be();
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: It takes no pointers.
        let socket = unsafe { libc::socket(libc::AF_PACKET, kind, protocol.into()) };
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: It has just been made, and nobody else knows it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, BUFFER)?;
        set(&socket, libc::SOL_PACKET, IGNORE_OUTGOING, 1)?;
        bind(&socket, index, protocol)?;
        let address = address(interface)?;
        Ok(Self { socket, address })
    }

    /// Its own Ethernet address.
    #[must_use]
    pub fn address(&self) -> [u8; 6] {
        self.address
    }

    /// Sends a frame. Whether the interface took it: a full one does not.
    ///
    /// # Errors
    ///
    /// Those of send(2) but `ENOBUFS` and `EAGAIN`.
    pub fn send(&self, frame: &[u8]) -> io::Result<bool> {
        let flags = rustix::net::SendFlags::empty();
        match retry_on_intr(|| rustix::net::send(&self.socket, frame, flags)) {
            Ok(_) => Ok(true),
            Err(Errno::NOBUFS | Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The next frame, if one has come: how many bytes of `frame` it fills.
    ///
    /// # Errors
    ///
    /// Those of recv(2).
    pub fn receive(&self, frame: &mut [u8]) -> io::Result<Option<usize>> {
        let flags = rustix::net::RecvFlags::empty();
        match retry_on_intr(|| rustix::net::recv(&self.socket, &mut *frame, flags)) {
            Ok((length, _)) => Ok(Some(length)),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// How many frames the kernel had no room for since the last call.
    ///
    /// # Errors
    ///
    /// Those of getsockopt(2).
    pub fn overruns(&self) -> io::Result<u64> {
        let mut statistics = Statistics::default();
        let mut size = size_of::<Statistics>() as libc::socklen_t;
        // SAFETY: It writes at most `size` bytes, which is the size of what it gets.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &mut size,
            )
        };
        checked(result).map(|()| statistics.drops.into())
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn bind(socket: &OwnedFd, index: i32, protocol: u16) -> io::Result<()> {
    // SAFETY: It is made of integers; zeroes are a valid one.
    let mut place: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    place.sll_family = libc::AF_PACKET as u16;
    place.sll_protocol = protocol;
    place.sll_ifindex = index;
    let size = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: It reads `size` bytes, which is the size of what it gets.
    checked(unsafe { libc::bind(socket.as_raw_fd(), (&raw const place).cast(), size) })
}

fn set(socket: &OwnedFd, level: i32, option: i32, value: libc::c_int) -> io::Result<()> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: It reads `size` bytes, which is the size of what it gets.
    checked(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size,
        )
    })
}

fn checked(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn attribute(interface: &str, name: &str) -> io::Result<String> {
    let text = fs::read_to_string(format!("/sys/class/net/{interface}/{name}"))?;
    Ok(text.trim().to_owned())
}

/// A number that the kernel tells of an interface: a file below `/sys/class/net`.
///
/// # Errors
///
/// There is no such interface, or no such number.
pub fn number<T: std::str::FromStr>(interface: &str, name: &str) -> io::Result<T> {
    let text = attribute(interface, name)?;
    text.parse()
        .map_err(|_| io::Error::other(format!("{name} of {interface} is {text:?}")))
}

fn address(interface: &str) -> io::Result<[u8; 6]> {
    let text = attribute(interface, "address")?;
    let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16));
    let bytes: Option<Vec<u8>> = bytes.map(Result::ok).collect();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| io::Error::other(format!("{interface} has the address {text:?}")))
}

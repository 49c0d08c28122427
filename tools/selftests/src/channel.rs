// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A channel between KVM and a device, and the device's end of it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Weak;

use anyhow::{bail, ensure, Context, Result};
use ioregion_wire::frame::{Command, Reply, FRAME_SIZE};
use ioregion_wire::uapi::{KvmIoregionChannel, KVM_IOREGION_CHANNEL};
use kvm_ioctls::VmFd;

use crate::ring::{self, RingDevice};

/// What carries the accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// `socketpair(AF_UNIX, SOCK_SEQPACKET)`.
    Seqpacket,
    /// `socketpair(AF_UNIX, SOCK_STREAM)`.
    Stream,
    /// Two pipes.
    Pipes,
    /// Shared memory.
    Ring,
}

/// Every transport.
pub(crate) const TRANSPORTS: [Transport; 4] = [
    Transport::Seqpacket,
    Transport::Stream,
    Transport::Pipes,
    Transport::Ring,
];

/// Those that carry frames through files.
pub(crate) const FILES: [Transport; 3] =
    [Transport::Seqpacket, Transport::Stream, Transport::Pipes];

/// The descriptors that `KVM_SET_IOREGION` takes. KVM holds its own references.
#[derive(Debug)]
pub(crate) enum KvmEnd {
    Files {
        read: OwnedFd,
        /// `None` when both directions are one socket.
        write: Option<OwnedFd>,
    },
    /// The device's own descriptor, as long as the device is there.
    Ring(Weak<OwnedFd>),
}

impl KvmEnd {
    /// The same open files under other numbers.
    pub(crate) fn duplicate(&self) -> Result<Self> {
        Ok(match self {
            Self::Files { read, write } => Self::Files {
                read: read.try_clone().context("dup")?,
                write: write
                    .as_ref()
                    .map(OwnedFd::try_clone)
                    .transpose()
                    .context("dup")?,
            },
            Self::Ring(channel) => Self::Ring(channel.clone()),
        })
    }

    pub(crate) fn read_fd(&self) -> RawFd {
        match self {
            Self::Files { read, .. } => read.as_raw_fd(),
            Self::Ring(_) => -1,
        }
    }

    pub(crate) fn write_fd(&self) -> RawFd {
        match self {
            Self::Files { read, write } => write.as_ref().unwrap_or(read).as_raw_fd(),
            Self::Ring(channel) => channel.upgrade().map_or(-1, |fd| fd.as_raw_fd()),
        }
    }

    /// What it adds to the flags of a region.
    pub(crate) fn flags(&self) -> u32 {
        match self {
            Self::Files { .. } => 0,
            Self::Ring(_) => KVM_IOREGION_CHANNEL,
        }
    }
}

/// The device's end.
#[derive(Debug)]
pub(crate) enum DeviceEnd {
    Files(DeviceFiles),
    Ring(RingDevice),
}

/// The device's descriptors.
#[derive(Debug)]
pub(crate) struct DeviceFiles {
    pub(crate) commands: File,
    pub(crate) replies: File,
    transport: Transport,
}

/// Makes both ends of any transport, for regions of this VM.
pub(crate) fn open_on(vm: &VmFd, transport: Transport) -> Result<(KvmEnd, DeviceEnd)> {
    match transport {
        Transport::Ring => {
            open_ring(vm, &ring::USUAL).map(|(kvm, device)| (kvm, DeviceEnd::Ring(device)))
        }
        _ => open(transport),
    }
}

/// Makes both ends of a channel in shared memory.
pub(crate) fn open_ring(vm: &VmFd, argument: &KvmIoregionChannel) -> Result<(KvmEnd, RingDevice)> {
    let channel = ring::create(vm, argument).context("KVM_CREATE_IOREGION_CHANNEL")?;
    let device = RingDevice::new(channel)?;
    Ok((KvmEnd::Ring(device.weak()), device))
}

/// Makes both ends of a transport through files, which need no VM.
pub(crate) fn open(transport: Transport) -> Result<(KvmEnd, DeviceEnd)> {
    match transport {
        Transport::Seqpacket => from_sockets(transport, libc::SOCK_SEQPACKET),
        Transport::Stream => from_sockets(transport, libc::SOCK_STREAM),
        Transport::Pipes => {
            let (commands, kvm_write) = pipe()?;
            let (kvm_read, replies) = pipe()?;
            let kvm = KvmEnd::Files {
                read: kvm_read,
                write: Some(kvm_write),
            };
            Ok((kvm, device(commands, replies, transport)))
        }
        Transport::Ring => bail!("a channel in shared memory belongs to a VM"),
    }
}

fn from_sockets(transport: Transport, kind: libc::c_int) -> Result<(KvmEnd, DeviceEnd)> {
    let (kvm, commands) = socketpair(kind)?;
    let replies = commands.try_clone().context("dup")?;
    let kvm = KvmEnd::Files {
        read: kvm,
        write: None,
    };
    Ok((kvm, device(commands, replies, transport)))
}

fn device(commands: OwnedFd, replies: OwnedFd, transport: Transport) -> DeviceEnd {
    DeviceEnd::Files(DeviceFiles {
        commands: commands.into(),
        replies: replies.into(),
        transport,
    })
}

impl DeviceEnd {
    /// The next command's frame, or `None` when KVM has let go of the channel.
    pub(crate) fn frame(&mut self) -> Result<Option<[u8; FRAME_SIZE]>> {
        match self {
            Self::Files(files) => files.frame(),
            Self::Ring(ring) => Ok(ring.next()?.map(|command| command.encode())),
        }
    }

    /// The next command. Fails at the end of the channel.
    pub(crate) fn command(&mut self) -> Result<Command> {
        self.next()?
            .context("KVM closed the channel, want a command")
    }

    /// The next command, or `None` when KVM has let go of the channel.
    pub(crate) fn next(&mut self) -> Result<Option<Command>> {
        let Some(frame) = self.frame()? else {
            return Ok(None);
        };
        let command = Command::decode(&frame)
            .map_err(|bad| anyhow::anyhow!("KVM sent {frame:x?}: {bad:?}"))?;
        Ok(Some(command))
    }

    /// Whether a command, or the end of the channel, can be read now.
    pub(crate) fn has_command(&self) -> Result<bool> {
        Ok(readable([self.commands_fd()], Wait::No)?[0])
    }

    /// Waits for a command or for `stop` to hang up; false when only the latter has happened.
    pub(crate) fn wait_for_command(&self, stop: BorrowedFd) -> Result<bool> {
        if let Self::Ring(ring) = self {
            ring.make_room()?;
        }
        Ok(readable([self.commands_fd(), stop], Wait::Yes)?[0])
    }

    /// Answers the oldest unanswered command.
    pub(crate) fn reply(&mut self, data: u64) -> Result<()> {
        match self {
            Self::Files(files) => files.send(&Reply { data }.encode()),
            Self::Ring(ring) => ring.reply(data),
        }
    }

    /// Writes bytes where KVM expects a reply.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Files(files) => files.send(bytes),
            Self::Ring(_) => bail!("no bytes are sent through shared memory"),
        }
    }

    fn commands_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Files(files) => files.commands.as_fd(),
            Self::Ring(ring) => ring.fd(),
        }
    }
}

impl DeviceFiles {
    fn frame(&mut self) -> Result<Option<[u8; FRAME_SIZE]>> {
        let mut frame = [0; FRAME_SIZE];
        match self.commands.read(&mut frame).context("read a command")? {
            0 => Ok(None),
            FRAME_SIZE => Ok(Some(frame)),
            len => bail!("a command of {len} bytes"),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let written = match self.transport {
            Transport::Pipes => self.replies.write(bytes).context("write a reply")?,
            _ => send_without_signal(&self.replies, bytes).context("send a reply")?,
        };
        ensure!(
            written == bytes.len(),
            "wrote {written} of {} bytes",
            bytes.len()
        );
        Ok(())
    }
}

/// Fills the file that KVM writes to until not one more command fits; the frames count as junk.
/// Returns their number.
pub(crate) fn fill(end: &KvmEnd) -> Result<usize> {
    let fd = end.write_fd();
    set_nonblocking(fd, true)?;
    let mut frames = 0;
    let result = loop {
        // SAFETY: the buffer is FRAME_SIZE bytes long; the descriptor is open.
        match unsafe { libc::write(fd, [0u8; FRAME_SIZE].as_ptr().cast(), FRAME_SIZE) } {
            len if len == FRAME_SIZE as isize => frames += 1,
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock => {
                break Ok(frames)
            }
            _ => break Err(io::Error::last_os_error()).context("fill the channel"),
        }
    };
    set_nonblocking(fd, false)?;
    result
}

/// Sets or clears `O_NONBLOCK`.
pub(crate) fn set_nonblocking(fd: RawFd, on: bool) -> Result<()> {
    // SAFETY: fcntl with these commands takes integers only.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    let flags = if on {
        flags | libc::O_NONBLOCK
    } else {
        flags & !libc::O_NONBLOCK
    };
    // SAFETY: as above.
    let result = unsafe { libc::fcntl(fd, libc::F_SETFL, flags) };
    ensure!(result == 0, "O_NONBLOCK: {}", io::Error::last_os_error());
    Ok(())
}

/// A pipe: read end, write end.
pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: the array has room for two descriptors.
    let result = unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) };
    ensure!(result == 0, "pipe2: {}", io::Error::last_os_error());
    Ok(own(fds))
}

fn socketpair(kind: libc::c_int) -> Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    let kind = kind | libc::SOCK_CLOEXEC;
    // SAFETY: the array has room for two descriptors.
    let result = unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) };
    ensure!(result == 0, "socketpair: {}", io::Error::last_os_error());
    Ok(own(fds))
}

fn own(fds: [RawFd; 2]) -> (OwnedFd, OwnedFd) {
    // SAFETY: the caller has just got both from the kernel, and nobody else has them.
    unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Yes,
    No,
}

/// Returns when a command is there, or the channel's end.
pub(crate) fn wait_until_readable(fd: BorrowedFd) -> Result<()> {
    readable([fd], Wait::Yes).map(|_| ())
}

/// Which of the descriptors can be read or have hung up.
fn readable<const N: usize>(fds: [BorrowedFd; N], wait: Wait) -> Result<[bool; N]> {
    let mut polls = fds.map(|fd| libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    });
    let timeout = if wait == Wait::Yes { -1 } else { 0 };
    // SAFETY: start and length are those of a live array.
    let ready = unsafe { libc::poll(polls.as_mut_ptr(), N as libc::nfds_t, timeout) };
    ensure!(ready >= 0, "poll: {}", io::Error::last_os_error());
    Ok(polls.map(|poll| poll.revents != 0))
}

fn send_without_signal(socket: &File, bytes: &[u8]) -> io::Result<usize> {
    let (start, len) = (bytes.as_ptr().cast(), bytes.len());
    // SAFETY: start and length are those of a live slice.
    let sent = unsafe { libc::send(socket.as_raw_fd(), start, len, libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

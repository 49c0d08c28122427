// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The VMM's end of a session: wait for a device process, attach it, talk to it, notice its end.
//!
//! ```no_run
//! # use shunt::{channel::{self, ChannelEnd, Transport}, state::StatePage, vmm::{Listener, Resources}};
//! # fn example(memory: &vm_memory::GuestMemoryMmap, irq: &vmm_sys_util::eventfd::EventFd)
//! #     -> Result<(), Box<dyn std::error::Error>> {
//! let state = StatePage::create()?; // once per device
//! let listener = Listener::bind("disk.sock".as_ref())?;
//! loop {
//!     let (kvm_end, device_end) = channel::pair(Transport::Seqpacket)?;
//!     let lent = Resources { memory, state: &state, interrupt: irq, vectors: &[], events: &[] };
//!     let process = listener.accept()?.attach(&lent, Some(ChannelEnd::Frames(device_end)))?;
//!     // KVM_SET_IOREGION with kvm_end; process.access(..) for what KVM cannot deliver.
//!     process.wait_hangup()?; // it died: take the region away, attach the next process
//! }
//! # }
//! ```

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ioregion_wire::frame::{Command, Reply};
use rustix::event::{poll, PollFd, PollFlags};
use rustix::net::sockopt::{set_socket_timeout, Timeout};
use rustix::net::{
    accept_with, bind, listen, recv, send, shutdown, socket_with, AddressFamily, RecvFlags,
    SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
};
use vm_memory::{GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};
use vmm_sys_util::eventfd::EventFd;

use crate::attach::{self, Attach, Channel, End, MemoryRegion};
use crate::channel::{self, ChannelEnd, Endpoint, Transport};
use crate::counters::Origin;
use crate::memory::MemoryError;
use crate::state::StatePage;

/// A socket where device processes connect. Its file is removed on drop.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    path: PathBuf,
}

impl Listener {
    /// Listens at `path`. A socket that a dead VMM left there is replaced.
    ///
    /// # Errors
    ///
    /// Those of `socket(2)`, `bind(2)` and `listen(2)`; `AddrInUse` when something other than a
    /// socket is at `path`.
    pub fn bind(path: &Path) -> io::Result<Self> {
        remove_stale_socket(path)?;
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        bind(&socket, &SocketAddrUnix::new(path)?)?;
        listen(&socket, 1)?;
        Ok(Self {
            socket,
            path: path.to_owned(),
        })
    }

    /// Waits for a device process to connect.
    ///
    /// # Errors
    ///
    /// Those of `accept(2)`.
    pub fn accept(&self) -> io::Result<Connection> {
        let socket = accept_with(&self.socket, SocketFlags::CLOEXEC)?;
        Ok(Connection { socket })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The file may be gone already, and there is nobody to tell.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn remove_stale_socket(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => std::fs::remove_file(path),
        _ => Ok(()), // bind(2) says what is wrong, if anything is
    }
}

/// What a VMM lends to a device process.
#[derive(Clone, Copy, Debug)]
pub struct Resources<'a> {
    /// Guest memory; every region a mapping of a file, see [`memory::allocate`](crate::memory::allocate).
    pub memory: &'a GuestMemoryMmap,
    /// The device's state page, the same one for each process in turn.
    pub state: &'a StatePage,
    /// What the device writes to interrupt the guest: an irqfd.
    pub interrupt: &'a EventFd,
    /// What a PCI device writes to signal its MSI-X vectors: an irqfd each, or none.
    pub vectors: &'a [EventFd],
    /// What the guest signals instead of a `QueueNotify` write, one per queue (an ioeventfd
    /// each), or none.
    pub events: &'a [EventFd],
}

/// A device process that connected and awaits its attach message.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
}

impl Connection {
    /// Sends the attach message. `kvm_channel` is the device's end of a channel whose other end
    /// KVM gets by `KVM_SET_IOREGION`; the VMM's own channel is made here. The device's ends are
    /// closed in this process, so that hanging up shows. (A channel in shared memory is a single
    /// descriptor for both sides: keep a duplicate for
    /// [`set_region`](crate::ioregion::set_region), and close it then, for the same reason.)
    ///
    /// The device process before this one must be gone, or two would work on the same rings.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` or `ConnectionReset` when the process is gone, `InvalidInput` when guest
    /// memory is not shareable, and those of `socketpair(2)` and `sendmsg(2)`.
    pub fn attach(
        self,
        lent: &Resources<'_>,
        kvm_channel: Option<ChannelEnd>,
    ) -> io::Result<DeviceProcess> {
        let (vmm_end, device_end) = channel::pair(Transport::Seqpacket)?;
        let vmm_channel = ChannelEnd::Frames(device_end);
        let mut message = Message::default();
        let attach = Attach {
            version: attach::VERSION,
            memory: message.memory(lent.memory)?,
            state: message.add(lent.state.file().as_fd()),
            interrupt: message.add(eventfd(lent.interrupt)),
            vectors: message.eventfds(lent.vectors),
            events: message.eventfds(lent.events),
            channels: std::iter::once((Origin::Vmm, &vmm_channel))
                .chain(kvm_channel.as_ref().map(|end| (Origin::Kvm, end)))
                .map(|(origin, end)| message.channel(origin, end))
                .collect(),
        };
        attach::send(&self.socket, &attach, &message.fds)?;
        Ok(DeviceProcess {
            socket: self.socket,
            channel: vmm_end,
            turn: Mutex::new(()),
            drains: Mutex::new(0),
        })
    }
}

/// The descriptors of an attach message in the making.
#[derive(Default)]
struct Message<'a> {
    fds: Vec<BorrowedFd<'a>>,
}

impl<'a> Message<'a> {
    fn add(&mut self, fd: BorrowedFd<'a>) -> attach::FdIndex {
        self.fds.push(fd);
        self.fds.len() - 1
    }

    fn eventfds(&mut self, events: &'a [EventFd]) -> Vec<attach::FdIndex> {
        events
            .iter()
            .map(|event| self.add(eventfd(event)))
            .collect()
    }

    fn channel(&mut self, origin: Origin, end: &'a ChannelEnd) -> Channel {
        let end = match end {
            ChannelEnd::Frames(end) => self.frames(end),
            ChannelEnd::Ring(channel) => End::Ring {
                ring: self.add(channel.as_fd()),
            },
        };
        Channel { origin, end }
    }

    fn frames(&mut self, end: &'a Endpoint) -> End {
        let read = self.add(end.read_fd());
        let write = if end.is_single() {
            read
        } else {
            self.add(end.write_fd())
        };
        End::Frames { read, write }
    }

    fn memory(&mut self, memory: &'a GuestMemoryMmap) -> io::Result<Vec<MemoryRegion>> {
        let mut regions = Vec::new();
        for region in memory.iter() {
            let guest_addr = region.start_addr().0;
            let file = region.file_offset().ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    MemoryError::NotShareable { guest_addr },
                )
            })?;
            regions.push(MemoryRegion {
                guest_addr,
                size: region.len(),
                offset: file.start(),
                fd: self.add(file.file().as_fd()),
            });
        }
        Ok(regions)
    }
}

fn eventfd(event: &EventFd) -> BorrowedFd<'_> {
    use std::os::fd::AsRawFd;
    // SAFETY: the descriptor is open as long as `event`, which the result borrows.
    unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) }
}

/// An attached device process. Dropping it ends the session, and so the process.
#[derive(Debug)]
pub struct DeviceProcess {
    socket: OwnedFd,
    channel: Endpoint,
    /// Held from a command to its reply.
    turn: Mutex<()>,
    /// How often it was asked to drain. Held from the request to its answer.
    drains: Mutex<u64>,
}

impl DeviceProcess {
    /// Has the device carry out one access, and waits for the reply if the command expects one.
    /// Accesses of several threads take turns.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof`, `BrokenPipe` or `ConnectionReset`: the process is gone; `WouldBlock`: it
    /// took longer than [`set_timeout`](Self::set_timeout) allows. The access may have happened
    /// or not, and is safe to repeat with the next process (see [`state`](crate::state)).
    pub fn access(&self, command: &Command) -> io::Result<Reply> {
        // A thread that panicked inside leaves the channel with at most a reply too many, which
        // can only come from a panic in `exchange`, and that has none.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.channel.exchange(command)
    }

    /// From now on, an [`access`](Self::access) that waits longer for its reply fails with
    /// `WouldBlock`; the session is of no use then, as the reply may still come. `None`: it waits
    /// for ever.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        // The VMM's channel is a socket pair.
        set_socket_timeout(self.channel.read_fd(), Timeout::Recv, timeout)?;
        Ok(())
    }

    /// Waits until the process has carried out everything that is in its channels and events now,
    /// and all the work that this brought. Then, if no virtual CPU runs, the device's state is in
    /// the state page, its shadow registers, guest memory and what is behind the device (a disk's
    /// image), and stays as it is; the next process resumes from there. `Documentation/companion.md`
    /// has the whole sequence for a snapshot or a migration.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof`, `BrokenPipe` or `ConnectionReset`: the process is gone, and may have left
    /// something undone. Attach the next one, and drain that.
    pub fn drain(&self) -> io::Result<()> {
        // Nothing between the two accesses to the number panics.
        let mut drains = self.drains.lock().unwrap_or_else(PoisonError::into_inner);
        *drains += 1;
        let request = drains.to_ne_bytes();
        send(&self.socket, &request, SendFlags::NOSIGNAL)?;
        loop {
            let mut answer = [0; 8];
            match recv(&self.socket, &mut answer[..], RecvFlags::empty()) {
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                // An older answer is to a request that failed here.
                Ok(_) if answer == request => return Ok(()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Ends the session: the process sees the VMM hang up, threads that wait in
    /// [`access`](Self::access) or [`drain`](Self::drain) get `UnexpectedEof` or `BrokenPipe`, also when the process hangs,
    /// and [`hangup_fd`](Self::hangup_fd) becomes readable.
    ///
    /// # Errors
    ///
    /// Those of `shutdown(2)`.
    pub fn hang_up(&self) -> io::Result<()> {
        shutdown(&self.socket, Shutdown::Both)?;
        // The VMM's channel is a socket pair.
        shutdown(self.channel.read_fd(), Shutdown::Both)?;
        Ok(())
    }

    /// Hung up (`POLLRDHUP`) when the process is gone; also readable then. It may be readable
    /// before while [`drain`](Self::drain) waits, which alone reads it.
    pub fn hangup_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Waits until the process is gone.
    ///
    /// # Errors
    ///
    /// Those of `poll(2)`, except `EINTR`.
    pub fn wait_hangup(&self) -> io::Result<()> {
        let mut fds = [PollFd::new(&self.socket, PollFlags::RDHUP)];
        loop {
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => {}
                other => return other.map(drop).map_err(Into::into),
            }
        }
    }
}

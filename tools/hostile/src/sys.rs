// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! System calls, raw: attackers pass what no wrapper would.

mod fault_trap;
mod mapping;

pub(crate) use fault_trap::FaultTrap;
pub(crate) use mapping::Mapping;

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::ptr;

use anyhow::{Context, Result};
use libc::{c_int, pid_t};

/// What a system call returned.
fn outcome(result: c_int) -> io::Result<c_int> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}

/// An ioctl whose argument the kernel takes for a number.
pub(crate) fn ioctl_number(fd: RawFd, number: u32, argument: u64) -> io::Result<c_int> {
    // SAFETY: callers name ioctls that take no pointer, or files that refuse the number.
    outcome(unsafe { libc::ioctl(fd, number.into(), argument) })
}

/// An ioctl that reads its argument.
pub(crate) fn ioctl_read<T>(fd: RawFd, number: u32, argument: &T) -> io::Result<c_int> {
    // SAFETY: callers name ioctls that read no more than a `T` and write nothing; addresses
    // inside of it are for the kernel to check.
    outcome(unsafe { libc::ioctl(fd, number.into(), ptr::from_ref(argument)) })
}

/// Runs `work` in a fork of this process, which ends with its result as the exit status. The
/// process may have threads: `work` only makes system calls.
pub(crate) fn fork(work: impl FnOnce() -> c_int) -> io::Result<pid_t> {
    // SAFETY: the child makes system calls and leaves by _exit, so it needs no lock that another
    // thread may have held.
    match outcome(unsafe { libc::fork() })? {
        0 => {
            let status = work();
            // SAFETY: never returns.
            unsafe { libc::_exit(status) }
        }
        child => Ok(child),
    }
}

/// Waits for a child; its exit status, or minus the signal that killed it.
pub(crate) fn wait(child: pid_t) -> io::Result<c_int> {
    let mut status = 0;
    loop {
        // SAFETY: the kernel writes the status of a child of ours.
        match outcome(unsafe { libc::waitpid(child, &raw mut status, 0) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) if libc::WIFSIGNALED(status) => return Ok(-libc::WTERMSIG(status)),
            Ok(_) => return Ok(libc::WEXITSTATUS(status)),
        }
    }
}

/// SIGKILL for every process of a group.
pub(crate) fn kill_group(group: pid_t) {
    // SAFETY: kill takes integers. The group is one that we made; should it be empty, the call
    // does nothing.
    unsafe { libc::kill(-group, libc::SIGKILL) };
}

/// Ends this process now, whatever its threads do.
pub(crate) fn exit_now(status: c_int) -> ! {
    // SAFETY: never returns.
    unsafe { libc::_exit(status) }
}

/// The calling thread's id.
pub(crate) fn this_thread() -> pid_t {
    // SAFETY: gettid has no arguments and cannot fail.
    unsafe { libc::gettid() }
}

/// The calling process dies with its parent.
pub(crate) fn die_with_parent() {
    // SAFETY: prctl takes integers here.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

extern "C" fn ignore(_: c_int) {}
extern "C" fn leave(_: c_int) {
    // SAFETY: never returns, and may be called from a handler.
    unsafe { libc::_exit(FAULTED) }
}

/// Exit status of a child whose memory access the kernel refused.
pub(crate) const FAULTED: c_int = 42;

fn handle(signal: c_int, handler: extern "C" fn(c_int)) -> Result<()> {
    // SAFETY: sigaction is plain data, for which all bytes zero is a value; both handlers only
    // do what a handler may.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        libc::sigaction(signal, &raw const action, ptr::null_mut())
    };
    outcome(result).map(drop).context("sigaction")
}

/// A fault ends the process with [`FAULTED`] instead of a line in the kernel's log.
pub(crate) fn leave_on_fault() -> Result<()> {
    handle(libc::SIGSEGV, leave)?;
    handle(libc::SIGBUS, leave)
}

/// Interrupts the calling thread's blocking calls again and again, until the process ends.
pub(crate) fn never_block_for_long() -> Result<()> {
    const INTERVAL: libc::timespec = libc::timespec {
        tv_sec: 0,
        tv_nsec: 2_000_000,
    };
    handle(libc::SIGALRM, ignore)?;
    let spec = libc::itimerspec {
        it_interval: INTERVAL,
        it_value: INTERVAL,
    };
    let mut timer: libc::timer_t = ptr::null_mut();
    // SAFETY: sigevent is plain data, for which all bytes zero is a value; all pointers are to
    // live variables, and the old setting is not asked for. The timer is never deleted.
    let result = unsafe {
        let mut event: libc::sigevent = std::mem::zeroed();
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGALRM;
        event.sigev_notify_thread_id = libc::gettid();
        outcome(libc::timer_create(
            libc::CLOCK_MONOTONIC,
            &raw mut event,
            &raw mut timer,
        ))
        .and_then(|_| {
            outcome(libc::timer_settime(
                timer,
                0,
                &raw const spec,
                ptr::null_mut(),
            ))
        })
    };
    result.map(drop).context("timer")
}

/// Sends bytes, and descriptors with them; the kernel says what that did.
pub(crate) fn send(fd: RawFd, bytes: &[u8], descriptors: &[BorrowedFd], flags: c_int) {
    let mut control = [0u64; 16];
    let size = size_of_val(descriptors) as u32;
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: msghdr is plain data, for which all bytes zero is a value; the control buffer is
    // aligned and larger than the message for a few descriptors, and all pointers stay valid
    // during the call.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        if !descriptors.is_empty() && descriptors.len() <= 8 {
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(size) as usize;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size) as usize;
            ptr::copy_nonoverlapping(
                descriptors.as_ptr().cast::<u8>(),
                libc::CMSG_DATA(header),
                size as usize,
            );
        }
        libc::sendmsg(fd, &raw const message, flags | libc::MSG_NOSIGNAL);
    }
}

/// A file's bytes, read without waiting for more.
pub(crate) fn read_some(fd: RawFd, bytes: &mut [u8]) -> io::Result<usize> {
    // SAFETY: start and length are those of a live slice.
    let read = unsafe { libc::read(fd, bytes.as_mut_ptr().cast(), bytes.len()) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}

/// Writes what there is room for.
pub(crate) fn write_some(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: start and length are those of a live slice.
    let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

/// fcntl with a number.
pub(crate) fn fcntl(fd: RawFd, command: c_int, argument: c_int) -> io::Result<c_int> {
    // SAFETY: callers name commands that take integers.
    outcome(unsafe { libc::fcntl(fd, command, argument) })
}

/// shutdown(2).
pub(crate) fn shutdown(fd: RawFd, how: c_int) {
    // SAFETY: shutdown takes integers.
    unsafe { libc::shutdown(fd, how) };
}

/// Closes a number of the caller's own making.
pub(crate) fn close(fd: RawFd) {
    // SAFETY: attackers keep their numbers apart from those that Rust owns.
    unsafe { libc::close(fd) };
}

/// Whether poll says something of a descriptor right now.
pub(crate) fn poll(fd: RawFd, events: i16) -> i16 {
    let mut poll = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    // SAFETY: one live pollfd.
    unsafe { libc::poll(&raw mut poll, 1, 0) };
    poll.revents
}

/// Sleeps until a signal kills the process.
pub(crate) fn wait_for_death() -> ! {
    loop {
        // SAFETY: pause has no arguments.
        unsafe { libc::pause() };
    }
}

/// A new eventfd, by its number.
pub(crate) fn eventfd() -> io::Result<RawFd> {
    // SAFETY: eventfd takes integers.
    outcome(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Stops another process exactly between itself and the kernel, by ptrace(2), so that a kill
//! hits a chosen moment of its work and not just some moment.

use anyhow::{bail, ensure, Context, Result};
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{waitpid, WaitStatus};
use nix::unistd::Pid;

/// The system calls that a device process makes while it serves, by name.
const NAMES: &[(i64, &str)] = &[
    (libc::SYS_epoll_wait, "epoll_wait"),
    (libc::SYS_read, "read"),
    (libc::SYS_write, "write"),
    (libc::SYS_ioctl, "ioctl"),
    (libc::SYS_recvfrom, "recvfrom"),
    (libc::SYS_recvmsg, "recvmsg"),
    (libc::SYS_sendto, "sendto"),
    (libc::SYS_sendmsg, "sendmsg"),
    (libc::SYS_lseek, "lseek"),
    (libc::SYS_pread64, "pread64"),
    (libc::SYS_pwrite64, "pwrite64"),
    (libc::SYS_preadv, "preadv"),
    (libc::SYS_pwritev, "pwritev"),
    (libc::SYS_fsync, "fsync"),
    (libc::SYS_fdatasync, "fdatasync"),
];

/// Lets the process run until it has crossed into or out of the kernel `crossings` times, and
/// leaves it stopped there. Answers what it was doing.
///
/// # Errors
///
/// It cannot be traced, or it ended before.
pub(crate) fn run_to(pid: u32, crossings: u32) -> Result<String> {
    let pid = Pid::from_raw(pid.try_into().context("a process id")?);
    ptrace::seize(pid, Options::PTRACE_O_TRACESYSGOOD).context("tracing")?;
    ptrace::interrupt(pid).context("stopping the traced process")?;
    let stop = waitpid(pid, None).context("waiting for the traced process")?;
    ensure!(
        matches!(stop, WaitStatus::PtraceEvent(..)),
        "the traced process did not stop: {stop:?}"
    );
    let mut doing = String::new();
    for _ in 0..crossings {
        ptrace::syscall(pid, None).context("continuing the traced process")?;
        match waitpid(pid, None).context("waiting for the traced process")? {
            WaitStatus::PtraceSyscall(_) => doing = describe(pid)?,
            other => bail!("the traced process should be in a system call: {other:?}"),
        }
    }
    Ok(doing)
}

/// Which system call the stopped process enters or leaves.
fn describe(pid: Pid) -> Result<String> {
    let enters = ptrace::syscall_info(pid)
        .context("asking for the system call")?
        .op
        == libc::PTRACE_SYSCALL_INFO_ENTRY;
    let registers = ptrace::getregs(pid).context("reading registers")?;
    let number = registers.orig_rax as i64;
    let name = NAMES.iter().find(|(known, _)| *known == number);
    let name = name.map_or_else(|| format!("call {number}"), |(_, name)| (*name).to_owned());
    Ok(format!(
        "{} {name}",
        if enters { "entering" } else { "leaving" }
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_stops_where_it_is_told() {
        // After it has started, `yes` does nothing but write.
        let mut yes = Command::new("yes").stdout(Stdio::null()).spawn().unwrap();
        let mut doing = [run_to(yes.id(), 1000).unwrap(), next_crossing(yes.id())];
        yes.kill().unwrap();
        yes.wait().unwrap();
        doing.sort();
        assert_eq!(doing, ["entering write", "leaving write"]);
    }

    fn next_crossing(pid: u32) -> String {
        let pid = Pid::from_raw(pid as i32);
        ptrace::syscall(pid, None).unwrap();
        waitpid(pid, None).unwrap();
        describe(pid).unwrap()
    }

    #[test]
    fn a_process_that_is_gone_cannot_be_traced() {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(run_to(child.id(), 1).is_err());
    }
}

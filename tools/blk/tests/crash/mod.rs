// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A device process that dies at a chosen step.
//!
//! A step is a stop of `PTRACE_SYSCALL`, at the entry or the exit of a system call, counted from
//! the process's connecting to the VMM. Killing it there covers every state that can be told
//! apart from outside: before and after each effect on a file, a socket or an eventfd, and, as
//! the stores to shared memory lie between a call's exit and the next one's entry, before and
//! after each group of those.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// A device process to run.
pub(crate) struct Program {
    pub(crate) socket: PathBuf,
    pub(crate) image: PathBuf,
    /// The VMM is about to end: from now on a process may fail to connect.
    pub(crate) over: AtomicBool,
}

/// Runs device processes one after the other; the first ones die at `deaths`, the last one runs
/// until the VMM hangs up. Answers how many died as planned: one may come to its end before.
pub(crate) fn run(program: &Program, deaths: &[usize]) -> usize {
    for (count, &step) in deaths.iter().enumerate() {
        if !Traced::spawn(program).kill_at(step) {
            return count;
        }
    }
    let status = program.command().stderr(Stdio::null()).status().unwrap();
    assert!(
        program.may_end_with(status.into_raw()),
        "device process: {status}"
    );
    deaths.len()
}

impl Program {
    fn command(&self) -> Command {
        let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_shunt-blk")));
        command
            .arg("--connect")
            .arg(&self.socket)
            .args(["--packed", "--in-order", "--image"])
            .arg(&self.image);
        command
    }

    fn may_end_with(&self, status: i32) -> bool {
        status == 0 || self.over.load(Ordering::SeqCst)
    }
}

struct Traced<'a> {
    program: &'a Program,
    process: Child,
}

impl<'a> Traced<'a> {
    fn spawn(program: &'a Program) -> Self {
        let mut command = program.command();
        // SAFETY: the closure makes one system call and allocates nothing.
        unsafe {
            command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        let process = command.stderr(Stdio::null()).spawn().unwrap();
        Self { program, process }
    }

    /// False if the process ended before that step, and well.
    fn kill_at(mut self, step: usize) -> bool {
        let mut connected = false;
        let mut left = step;
        loop {
            let Some(signal) = self.wait_stop() else {
                return false;
            };
            if signal == libc::SIGTRAP {
                connected = connected || self.syscall() == libc::SYS_connect;
                if connected && left == 0 {
                    self.process.kill().unwrap();
                    self.process.wait().unwrap();
                    return true;
                }
                left -= usize::from(connected);
            }
            let deliver = if signal == libc::SIGTRAP { 0 } else { signal };
            self.request(libc::PTRACE_SYSCALL, deliver as usize);
        }
    }

    /// The signal that stopped the process, `SIGTRAP` for a step; `None` when it has exited.
    fn wait_stop(&self) -> Option<i32> {
        let mut status = 0;
        // SAFETY: `status` is writable.
        let pid = unsafe { libc::waitpid(self.process.id() as i32, &mut status, 0) };
        assert_eq!(pid, self.process.id() as i32);
        if libc::WIFSTOPPED(status) {
            return Some(libc::WSTOPSIG(status));
        }
        assert!(
            self.program.may_end_with(status),
            "device process: wait status {status:#x}"
        );
        None
    }

    fn syscall(&self) -> i64 {
        let orig_rax = std::mem::offset_of!(libc::user_regs_struct, orig_rax);
        self.request_at(libc::PTRACE_PEEKUSER, orig_rax, 0)
    }

    fn request(&self, request: libc::c_uint, data: usize) {
        assert_eq!(self.request_at(request, 0, data), 0);
    }

    fn request_at(&self, request: libc::c_uint, address: usize, data: usize) -> i64 {
        // SAFETY: neither PTRACE_SYSCALL nor PTRACE_PEEKUSER touches this process's memory.
        unsafe { libc::ptrace(request, self.process.id() as i32, address, data) }
    }
}

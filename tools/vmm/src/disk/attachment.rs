// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Which device process serves a disk, and what a vCPU does when it is gone.
//!
//! ```text
//!               attach                      close
//!   Vacant  ─────────────►  Attached     ──────────►  Closed   (for good)
//!           ◄─────────────
//!      detach, a failed access
//! ```
//!
//! A vCPU whose access finds no process, or whose process goes away under it, blocks until there
//! is another one and repeats the access; [`super`] says why it may. [`Attachment::close`] gets
//! it out.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use shunt::{vmm::DeviceProcess, Command, Reply};

use super::registers::Registers;
use crate::bus::AccessError;

/// A device process, as far as an attachment knows it.
pub(crate) trait Process: Send + Sync {
    /// Carries out one command.
    ///
    /// # Errors
    ///
    /// When the process is gone, or takes too long (`WouldBlock`); the command may have been
    /// carried out or not.
    fn access(&self, command: &Command) -> io::Result<Reply>;

    /// Ends the session and gets every thread out of [`access`](Self::access).
    ///
    /// # Errors
    ///
    /// When the kernel does not do it.
    fn hang_up(&self) -> io::Result<()>;
}

impl Process for DeviceProcess {
    fn access(&self, command: &Command) -> io::Result<Reply> {
        DeviceProcess::access(self, command)
    }

    fn hang_up(&self) -> io::Result<()> {
        DeviceProcess::hang_up(self)
    }
}

enum State<P> {
    Vacant,
    Attached(Arc<P>),
    Closed,
}

/// The place where a device process attaches. Shared by vCPUs and the disk's supervisor.
pub(crate) struct Attachment<P> {
    state: Mutex<State<P>>,
    /// Signalled when the state becomes `Attached` or `Closed`.
    changed: Condvar,
}

impl<P: Process> Attachment<P> {
    /// A place without a process.
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State::Vacant),
            changed: Condvar::new(),
        }
    }

    /// Lets vCPUs use `process`; does nothing once closed.
    pub(crate) fn attach(&self, process: Arc<P>) {
        let mut state = self.lock();
        if matches!(*state, State::Vacant) {
            *state = State::Attached(process);
            self.changed.notify_all();
        }
    }

    /// Takes `process` away, if it is the one that is attached. Its session ends, so that its
    /// supervisor learns of it.
    ///
    /// # Errors
    ///
    /// Those of [`Process::hang_up`].
    pub(crate) fn detach(&self, process: &Arc<P>) -> io::Result<()> {
        let mut state = self.lock();
        if matches!(&*state, State::Attached(attached) if Arc::ptr_eq(attached, process)) {
            *state = State::Vacant;
            return process.hang_up();
        }
        Ok(())
    }

    /// Ends every access that waits, and every one to come, with [`AccessError::Stopping`].
    ///
    /// # Errors
    ///
    /// Those of [`Process::hang_up`].
    pub(crate) fn close(&self) -> io::Result<()> {
        let mut state = self.lock();
        let before = std::mem::replace(&mut *state, State::Closed);
        self.changed.notify_all();
        match before {
            State::Attached(process) => process.hang_up(),
            State::Vacant | State::Closed => Ok(()),
        }
    }

    /// The process; waits for one. `None` once closed.
    fn process(&self) -> Option<Arc<P>> {
        let mut state = self.lock();
        loop {
            match &*state {
                State::Attached(process) => return Some(Arc::clone(process)),
                State::Closed => return None,
                State::Vacant => {
                    let waited = self.changed.wait(state);
                    state = waited.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Each transition is one assignment, so a panic elsewhere leaves a valid state.
    fn lock(&self) -> MutexGuard<'_, State<P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Process> Registers for Attachment<P> {
    fn access(&self, command: &Command) -> Result<Reply, AccessError> {
        while let Some(process) = self.process() {
            match process.access(command) {
                Ok(reply) => return Ok(reply),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    eprintln!("shunt-vmm: gave up a device process that did not answer in time");
                }
                Err(_) => {}
            }
            self.detach(&process)
                .map_err(|error| AccessError::Failed(error.into()))?;
        }
        Err(AccessError::Stopping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{
            atomic::{AtomicU64, Ordering},
            mpsc,
        },
        thread,
        time::Duration,
    };

    use shunt::{Operation, Width};

    /// When a test that waits in vain fails.
    const LIMIT: Duration = Duration::from_secs(20);

    /// Serves `lives` accesses, each with its name, and then dies.
    struct Fake {
        name: u64,
        lives: AtomicU64,
        hung_up: mpsc::Sender<()>,
    }

    /// A process, and what tells that its session was ended.
    fn fake(name: u64, lives: u64) -> (Arc<Fake>, mpsc::Receiver<()>) {
        let (hung_up, was_hung_up) = mpsc::channel();
        let lives = AtomicU64::new(lives);
        let fake = Fake {
            name,
            lives,
            hung_up,
        };
        (Arc::new(fake), was_hung_up)
    }

    impl Process for Fake {
        fn access(&self, _: &Command) -> io::Result<Reply> {
            self.lives
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |lives| {
                    lives.checked_sub(1)
                })
                .map(|_| Reply { data: self.name })
                .map_err(|_| io::ErrorKind::UnexpectedEof.into())
        }

        fn hang_up(&self) -> io::Result<()> {
            self.hung_up.send(()).map_err(io::Error::other)
        }
    }

    const READ: Command = Command {
        operation: Operation::Read,
        width: Width::Long,
        expects_reply: true,
        user_data: 0,
        offset: 0,
    };

    struct Access(mpsc::Receiver<Result<u64, AccessError>>);

    impl Access {
        /// Starts an access on a thread of its own.
        fn start(attachment: &Arc<Attachment<Fake>>) -> Self {
            let (sender, receiver) = mpsc::channel();
            let attachment = Arc::clone(attachment);
            thread::spawn(move || {
                let result = Registers::access(&*attachment, &READ);
                sender.send(result.map(|reply| reply.data)).unwrap();
            });
            Self(receiver)
        }

        fn result(self) -> Result<u64, AccessError> {
            self.0
                .recv_timeout(LIMIT)
                .expect("the access waits in vain")
        }
    }

    #[test]
    fn an_access_waits_for_the_first_process() {
        let attachment = Arc::new(Attachment::new());
        let access = Access::start(&attachment);
        let (process, _hung_up) = fake(7, 1);
        attachment.attach(process);
        assert_eq!(access.result().unwrap(), 7);
    }

    #[test]
    fn an_access_that_loses_its_process_repeats_with_the_next() {
        let attachment = Arc::new(Attachment::new());
        let (first, hung_up) = fake(1, 0);
        attachment.attach(first);
        let access = Access::start(&attachment);
        // The supervisor learns of the death by the session's end, and attaches the next.
        hung_up.recv_timeout(LIMIT).unwrap();
        let (second, _hung_up) = fake(2, 1);
        attachment.attach(second);
        assert_eq!(access.result().unwrap(), 2);
    }

    #[test]
    fn detach_of_a_former_process_does_not_touch_the_present_one() {
        let attachment = Arc::new(Attachment::new());
        let ((first, _), (second, second_hung_up)) = (fake(1, 9), fake(2, 9));
        attachment.attach(Arc::clone(&first));
        // Its supervisor is gone, so the session cannot be ended: an error, and detached.
        assert!(attachment.detach(&first).is_err());
        attachment.attach(second);
        attachment.detach(&first).unwrap();
        assert!(second_hung_up.try_recv().is_err());
        assert_eq!(Access::start(&attachment).result().unwrap(), 2);
    }

    #[test]
    fn close_ends_waiting_and_later_accesses() {
        let attachment = Arc::new(Attachment::new());
        let waiting = Access::start(&attachment);
        attachment.close().unwrap();
        assert!(matches!(waiting.result(), Err(AccessError::Stopping)));
        let (late, _hung_up) = fake(3, 1);
        attachment.attach(late);
        let after = Access::start(&attachment).result();
        assert!(matches!(after, Err(AccessError::Stopping)));
    }

    #[test]
    fn close_ends_the_session() {
        let attachment = Attachment::new();
        let (process, hung_up) = fake(4, 1);
        attachment.attach(process);
        attachment.close().unwrap();
        hung_up.try_recv().unwrap();
    }
}

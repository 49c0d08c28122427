// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! How the machine ends: the first reason wins, and everybody who waits can see it coming.
//!
//! [`Stop::event`] becomes readable and stays so. Threads that block in `poll` add it to what
//! they poll for; vCPU threads are kicked by the machine ([`crate::vcpu::VcpuThread::kick`]).

use std::{sync::OnceLock, thread};

use anyhow::{anyhow, Context, Result};
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

/// Why the machine ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The guest reset or shut down the machine.
    GuestReset,
    /// The user asked for it, by this signal or key.
    Terminated(&'static str),
    /// The machine cannot go on.
    Failed(anyhow::Error),
}

/// Ends the machine when it is dropped in a panic, so that a thread that nobody waits for yet
/// does not leave the others running.
pub(crate) struct StopOnPanic<'a>(pub(crate) &'a Stop);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0
                .request(Outcome::Failed(anyhow!("a thread panicked")));
        }
    }
}

/// The switch that ends the machine.
pub(crate) struct Stop {
    outcome: OnceLock<Outcome>,
    event: EventFd,
}

impl Stop {
    /// A switch that is off.
    ///
    /// # Errors
    ///
    /// When no eventfd can be had.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            outcome: OnceLock::new(),
            event: EventFd::new(EFD_NONBLOCK).context("cannot create the stop eventfd")?,
        })
    }

    /// Ends the machine for this reason, if it is the first.
    pub(crate) fn request(&self, outcome: Outcome) {
        if self.outcome.set(outcome).is_ok() {
            self.event
                .write(1)
                .expect("one write does not overflow an eventfd's counter");
        }
    }

    /// The reason, once there is one.
    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.get()
    }

    /// Readable from the first request on. Not to be read.
    pub(crate) fn event(&self) -> &EventFd {
        &self.event
    }

    /// The reason, when everybody has let go of the switch.
    pub(crate) fn into_outcome(self) -> Option<Outcome> {
        self.outcome.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_wins() {
        let stop = Stop::new().unwrap();
        assert!(stop.outcome().is_none());
        stop.request(Outcome::GuestReset);
        stop.request(Outcome::Terminated("SIGTERM"));
        assert!(matches!(stop.outcome(), Some(Outcome::GuestReset)));
        assert_eq!(stop.event().read().unwrap(), 1);
    }

    #[test]
    fn a_panic_ends_the_machine_and_a_return_does_not() {
        let stop = Stop::new().unwrap();
        drop(StopOnPanic(&stop));
        assert!(stop.outcome().is_none());
        let panicked = std::panic::catch_unwind(|| {
            let _guard = StopOnPanic(&stop);
            panic!("on purpose");
        });
        assert!(panicked.is_err());
        assert!(matches!(stop.outcome(), Some(Outcome::Failed(_))));
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The channels in shared memory of a session, side by side.

use std::os::fd::{AsRawFd, RawFd};

use ioregion_wire::frame::{Command, Reply};

use crate::counters::Origin;
use crate::ring_channel::patience::Patience;
use crate::ring_channel::{RingChannel, RingError};

use super::ServeError;

/// Accesses of one ring between two looks at everything else: how long that may have to wait.
pub(super) const TURN: usize = 64;

#[derive(Debug)]
pub(super) struct ServedRings {
    /// `None`: there will be no more accesses.
    rings: Vec<Option<(Origin, RingChannel)>>,
    patience: Patience,
    is_armed: bool,
}

impl ServedRings {
    pub(super) fn new(rings: Vec<(Origin, RingChannel)>) -> Self {
        Self {
            rings: rings.into_iter().map(Some).collect(),
            patience: Patience::new(),
            is_armed: false,
        }
    }

    /// What to watch while armed, in order.
    pub(super) fn fds(&self) -> impl Iterator<Item = RawFd> + '_ {
        self.rings
            .iter()
            .flatten()
            .map(|(_, ring)| ring.fd().as_raw_fd())
    }

    /// Ring number `index` hung up and is empty.
    pub(super) fn close(&mut self, index: usize) {
        self.rings[index] = None;
    }

    /// Carries out what is in the rings, up to a bound for each.
    pub(super) fn serve(
        &mut self,
        mut perform: impl FnMut(Origin, &Command) -> Reply,
    ) -> Result<(), ServeError> {
        for (origin, ring) in self.rings.iter_mut().flatten() {
            let origin = *origin;
            serve_one(ring, |command| perform(origin, command))
                .map_err(|cause| ServeError::Ring { origin, cause })?;
        }
        Ok(())
    }

    /// An access waits in one of them.
    pub(super) fn is_ready(&self) -> bool {
        self.rings.iter().flatten().any(|(_, r)| r.is_ready())
    }

    /// Looks for accesses for a while, then asks to be woken for the next one. False if one is
    /// there already.
    pub(super) fn may_sleep(&mut self) -> bool {
        if self.rings.iter().all(Option::is_none) {
            return true;
        }
        let rings = &self.rings;
        let is_ready = || rings.iter().flatten().any(|(_, ring)| ring.is_ready());
        if self.patience.look(is_ready) {
            return false;
        }
        self.is_armed = true;
        let all_empty = self.rings.iter_mut().flatten().all(|(_, r)| r.arm());
        if !all_empty {
            self.disarm();
        }
        all_empty
    }

    /// Looks by itself again, after a sleep.
    pub(super) fn wake_up(&mut self) {
        if !self.is_armed {
            return;
        }
        self.disarm();
        if self.is_ready() {
            self.patience.was_woken();
        }
    }

    fn disarm(&mut self) {
        self.is_armed = false;
        for (_, ring) in self.rings.iter().flatten() {
            ring.disarm();
        }
    }
}

fn serve_one(
    ring: &mut RingChannel,
    mut perform: impl FnMut(&Command) -> Reply,
) -> Result<(), RingError> {
    let mut taken = 0;
    while taken < TURN {
        let Some(done) = ring.take(&mut perform)? else {
            break;
        };
        ring.wake(done.sleeper)?;
        taken += 1;
    }
    if taken > 0 {
        ring.tell_of_room()?;
    }
    Ok(())
}

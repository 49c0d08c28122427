// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The interrupts of a VMM that knows nothing of us, by the eventfds that devices signal.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::Result;
use exitless_vectors::refusal::Refusal;

use crate::exitless::{Exitless, Refused};
use crate::vmm::{EventfdId, Vmm};

/// What became of an eventfd.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    /// With this GSI.
    Armed(u32),
    /// For this reason, or 0.
    Refused(u32),
}

/// Those of a VM.
pub struct Interrupts {
    exitless: Exitless,
    flags: u32,
    fates: BTreeMap<EventfdId, Fate>,
}

impl Interrupts {
    /// None of them is armed yet; those that will be get these flags.
    #[must_use]
    pub fn new(exitless: Exitless, flags: u32) -> Self {
        Self {
            exitless,
            flags,
            fates: BTreeMap::new(),
        }
    }

    /// Looks at what the VMM has now: arms what is a device's interrupt, and disarms what it has no
    /// more. Prints what has changed.
    ///
    /// # Errors
    ///
    /// We may not have the VMM's eventfds.
    pub fn look(&mut self, vmm: &Vmm) -> Result<()> {
        let eventfds = vmm.eventfds()?;
        let (kept, gone) = std::mem::take(&mut self.fates)
            .into_iter()
            .partition(|(id, _)| eventfds.contains_key(id));
        self.fates = kept;
        self.disarm(&gone)?;
        for (id, eventfd) in &eventfds {
            if !matches!(self.fates.get(id), Some(Fate::Armed(_))) {
                let fate = self.try_to_arm(eventfd);
                self.tell(*id, fate);
            }
        }
        Ok(())
    }

    /// How many are armed.
    #[must_use]
    pub fn armed(&self) -> usize {
        let is_armed = |fate: &&Fate| matches!(fate, Fate::Armed(_));
        self.fates.values().filter(is_armed).count()
    }

    /// As of [`Exitless::report`].
    ///
    /// # Errors
    ///
    /// As of [`Exitless::report`].
    pub fn report(&self) -> Result<String> {
        self.exitless.report()
    }

    /// The guest may get the same GSIs for others.
    fn disarm(&self, gone: &BTreeMap<EventfdId, Fate>) -> Result<()> {
        for fate in gone.values() {
            if let &Fate::Armed(gsi) = fate {
                self.exitless.disarm(gsi)?;
                println!("gsi {gsi} has gone");
            }
        }
        Ok(())
    }

    fn try_to_arm(&self, eventfd: &OwnedFd) -> Result<u32, Refused> {
        self.exitless.arm(eventfd.as_raw_fd(), self.flags)
    }

    fn tell(&mut self, id: EventfdId, result: Result<u32, Refused>) {
        let fate = match &result {
            Ok(gsi) => Fate::Armed(*gsi),
            Err(refused) => Fate::Refused(refused.refusal),
        };
        if self.fates.insert(id, fate) == Some(fate) {
            return;
        }
        match result {
            Ok(gsi) => println!("gsi {gsi} armed"),
            Err(refused) if is_no_interrupt(&refused) => {}
            Err(refused) => println!("refused: {refused}"),
        }
    }
}

/// Most eventfds of a VMM have nothing to do with devices.
fn is_no_interrupt(refused: &Refused) -> bool {
    let none = [Refusal::NotAssigned, Refusal::NoIrqfd];
    let refusal = refused.refusal();
    refusal.is_some_and(|refusal| none.contains(&refusal))
}

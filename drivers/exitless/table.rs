// SPDX-License-Identifier: GPL-2.0-only

//! What a file has armed: an interrupt each, and where it is delivered directly, if it is.
//!
//! Whenever something has changed, every interrupt is looked at again. One whose place is another
//! leaves the old one before any takes a new one.

use crate::{
    session::{
        Interrupt,
        Session, //
    },
    vcpus::{
        Place,
        Vcpus,
        Wish, //
    },
};
use exitless_vectors::{
    refusal::Refusal,
    vectors::ChosenVector, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kvm_exitless::{
    Attachment,
    Consumer, //
};

/// The file's VM.
pub(crate) type Vm = Arc<Attachment<Session>>;

/// An interrupt.
pub(crate) struct Entry {
    pub(crate) gsi: u32,
    wish: Wish,
    consumer: Consumer<Interrupt>,
    /// Where it is delivered directly now, or why it is not.
    pub(crate) state: Result<Place, Refusal>,
}

impl Entry {
    /// An interrupt that is not delivered directly yet.
    pub(crate) fn new(gsi: u32, wish: Wish, consumer: Consumer<Interrupt>) -> Self {
        Self {
            gsi,
            wish,
            consumer,
            state: Err(Refusal::NotAssigned),
        }
    }

    /// Where it could be delivered directly.
    fn wanted(&self, vm: &Vm) -> Result<Place, Refusal> {
        if !self.consumer.is_connected() {
            return Err(Refusal::NotAssigned);
        }
        let to = vm.route(self.gsi).ok_or(Refusal::NoRoute)?;
        let vector = ChosenVector::new(to.vector).ok_or(Refusal::Vector)?;
        let cpu = vm.place(to.vcpu)?;
        Ok(Place {
            vcpu: to.vcpu,
            cpu,
            vector,
        })
    }

    /// The guest comes to own the vector before the first interrupt has it.
    fn enter(&mut self, vm: &Vm, vcpus: &mut Vcpus, place: Place) -> Result<(), Refusal> {
        vcpus.allow(vm, place, self.wish)?;
        let moved = self.consumer.choose_vector(place.cpu, Some(place.vector));
        moved.map_err(|error| {
            vcpus.deny(vm, place);
            match error {
                e if e == EBUSY => Refusal::VectorTaken,
                e if e == ENXIO => Refusal::NotAssigned,
                _ => Refusal::NotMovable,
            }
        })
    }

    /// The guest owns the vector until no interrupt has it any more.
    fn leave(&mut self, vm: &Vm, vcpus: &mut Vcpus, place: Place) {
        // An interrupt that is gone has no vector, and one that cannot move now goes to the host.
        let _ = self.consumer.choose_vector(place.cpu, None);
        vcpus.deny(vm, place);
    }
}

/// Why an interrupt was not taken.
pub(crate) enum Rejection {
    /// It cannot be delivered directly now.
    Refused(Refusal),
    /// The call was wrong, or there is no memory.
    Failed(Error),
}

/// All of a file.
#[derive(Default)]
pub(crate) struct Table {
    vm: Option<Vm>,
    pub(crate) vcpus: Vcpus,
    pub(crate) entries: KVec<Entry>,
}

impl Table {
    /// Takes the file's VM; gives it back if there is one.
    pub(crate) fn attach(&mut self, vm: Vm) -> Option<Vm> {
        if self.vm.is_some() {
            return Some(vm);
        }
        self.vm = Some(vm);
        None
    }

    /// Adds an interrupt, or gives it back with the reason.
    pub(crate) fn arm(&mut self, mut entry: Entry) -> Result<(), (Rejection, Entry)> {
        let vm = match self.admit(entry.gsi) {
            Ok(vm) => vm,
            Err(error) => return Err((Rejection::Failed(error), entry)),
        };
        let place = entry.wanted(&vm);
        let entered = place.and_then(|place| entry.enter(&vm, &mut self.vcpus, place));
        if let Err(refusal) = entered {
            return Err((Rejection::Refused(refusal), entry));
        }
        entry.state = place;
        let pushed = self.entries.push_within_capacity(entry);
        pushed.map_err(|error| (Rejection::Failed(ENOMEM), error.0))
    }

    /// Whether a GSI can be added; makes room for it.
    fn admit(&mut self, gsi: u32) -> Result<Vm> {
        let vm = self.vm.clone().ok_or(ENXIO)?;
        if self.entries.iter().any(|entry| entry.gsi == gsi) {
            return Err(EEXIST);
        }
        self.entries.reserve(1, GFP_KERNEL_ACCOUNT)?;
        Ok(vm)
    }

    /// Takes an interrupt out.
    pub(crate) fn disarm(&mut self, gsi: u32) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.gsi == gsi)?;
        let mut entry = self.entries.remove(at).ok()?;
        let vm = self.vm.as_ref()?;
        if let Ok(place) = entry.state {
            entry.leave(vm, &mut self.vcpus, place);
        }
        Some(entry)
    }

    /// Looks again at where interrupts are delivered.
    pub(crate) fn update(&mut self) {
        let Some(vm) = &self.vm else {
            return;
        };
        for entry in &mut self.entries {
            let wanted = entry.wanted(vm);
            if let Ok(place) = entry.state {
                if wanted == Ok(place) {
                    continue;
                }
                entry.leave(vm, &mut self.vcpus, place);
            }
            entry.state = Err(wanted.err().unwrap_or(Refusal::VectorTaken));
        }
        for entry in &mut self.entries {
            if let (Err(_), Ok(place)) = (entry.state, entry.wanted(vm)) {
                entry.state = entry.enter(vm, &mut self.vcpus, place).map(|()| place);
            }
        }
    }

    /// Takes everything out.
    pub(crate) fn close(&mut self) -> Self {
        if let Some(vm) = &self.vm {
            for entry in &mut self.entries {
                if let Ok(place) = entry.state {
                    entry.leave(vm, &mut self.vcpus, place);
                }
            }
        }
        core::mem::take(self)
    }
}

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
    trace::{
        self,
        Where, //
    },
    Attachment,
    Consumer, //
};

/// The file's VM.
pub(crate) type Vm = Arc<Attachment<Session>>;

/// An interrupt.
pub(crate) struct Entry {
    /// Looked up when it is taken.
    pub(crate) gsi: u32,
    wish: Wish,
    consumer: Consumer<Interrupt>,
    /// Where it is delivered directly now, or why it is not.
    pub(crate) state: Result<Place, Refusal>,
}

impl Entry {
    /// An interrupt that is not delivered directly yet.
    pub(crate) fn new(wish: Wish, consumer: Consumer<Interrupt>) -> Self {
        Self {
            gsi: 0,
            wish,
            consumer,
            state: Err(Refusal::NotAssigned),
        }
    }

    /// Where it could be delivered directly.
    fn wanted(&self, vm: &Vm, vcpus: &Vcpus) -> Result<Place, Refusal> {
        if !self.consumer.is_connected() {
            return Err(Refusal::NotAssigned);
        }
        let to = vm.route(self.gsi).ok_or(Refusal::NoRoute)?;
        let vector = ChosenVector::new(to.vector).ok_or(Refusal::Vector)?;
        if vcpus.is_expelled(to.vcpu) {
            return Err(Refusal::InterruptsOff);
        }
        let cpu = vm.place(to.vcpu)?;
        Ok(Place {
            vcpu: to.vcpu,
            cpu,
            vector,
        })
    }

    fn set_state(&mut self, state: Result<Place, Refusal>) {
        if state != self.state {
            self.state = state;
            let to = state.map(|place| Where {
                vector: place.vector.vector(),
                vcpu: place.vcpu,
                cpu: place.cpu,
            });
            trace::place(self.gsi, to);
        }
    }

    /// The guest comes to own the vector before the first interrupt has it.
    fn enter(&self, vm: &Vm, vcpus: &mut Vcpus, place: Place) -> Result<Place, Refusal> {
        vcpus.allow(vm, place, self.wish)?;
        let moved = self.consumer.choose_vector(place.cpu, place.vector);
        moved.map(|()| place).map_err(|error| {
            vcpus.deny(vm, place);
            match error {
                // The vCPU is the only one with direct interrupts on its CPU, and this its only
                // one of the vector.
                e if e == EBUSY => Refusal::Moving,
                e if e == ENXIO => Refusal::NotAssigned,
                _ => Refusal::NotMovable,
            }
        })
    }

    /// The guest owns the vector until no interrupt has it any more.
    fn leave(&self, vm: &Vm, vcpus: &mut Vcpus, place: Place) {
        self.consumer.leave_vector(place.cpu);
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

    /// Adds an interrupt, or gives it back with the reason. Yields its GSI.
    pub(crate) fn arm(&mut self, mut entry: Entry) -> Result<u32, (Rejection, Entry)> {
        let vm = match self.admit(&mut entry) {
            Ok(vm) => vm,
            Err(rejection) => return Err((rejection, entry)),
        };
        let place = entry.wanted(&vm, &self.vcpus);
        entry.set_state(place.and_then(|place| entry.enter(&vm, &mut self.vcpus, place)));
        if let Err(refusal) = entry.state {
            if refusal != Refusal::Moving {
                return Err((Rejection::Refused(refusal), entry));
            }
        }
        let gsi = entry.gsi;
        let pushed = self.entries.push_within_capacity(entry);
        pushed
            .map(|()| gsi)
            .map_err(|error| (Rejection::Failed(ENOMEM), error.0))
    }

    /// Whether an interrupt can be added; gives it its GSI, and makes room for it.
    fn admit(&mut self, entry: &mut Entry) -> Result<Vm, Rejection> {
        let vm = self.vm.clone().ok_or(Rejection::Failed(ENXIO))?;
        let gsi = vm.gsi(&entry.consumer);
        entry.gsi = gsi.ok_or(Rejection::Refused(Refusal::NoIrqfd))?;
        if self.entries.iter().any(|other| other.gsi == entry.gsi) {
            return Err(Rejection::Failed(EEXIST));
        }
        let reserved = self.entries.reserve(1, GFP_KERNEL_ACCOUNT);
        reserved.map_err(|_| Rejection::Failed(ENOMEM))?;
        Ok(vm)
    }

    /// Takes an interrupt out.
    pub(crate) fn disarm(&mut self, gsi: u32) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.gsi == gsi)?;
        let entry = self.entries.remove(at).ok()?;
        let vm = self.vm.as_ref()?;
        if let Ok(place) = entry.state {
            entry.leave(vm, &mut self.vcpus, place);
        }
        Some(entry)
    }

    /// Looks again at where interrupts are delivered. Yields whether one waits for the end of an
    /// earlier move of it.
    pub(crate) fn update(&mut self) -> bool {
        let Some(vm) = &self.vm else {
            return false;
        };
        for entry in &mut self.entries {
            let wanted = entry.wanted(vm, &self.vcpus);
            if let Ok(place) = entry.state {
                if wanted == Ok(place) {
                    continue;
                }
                entry.leave(vm, &mut self.vcpus, place);
            }
            entry.set_state(Err(wanted.err().unwrap_or(Refusal::Moving)));
        }
        for entry in &mut self.entries {
            if let (Err(_), Ok(place)) = (entry.state, entry.wanted(vm, &self.vcpus)) {
                entry.set_state(entry.enter(vm, &mut self.vcpus, place));
            }
        }
        self.is_unsettled()
    }

    fn is_unsettled(&self) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|entry| entry.state == Err(Refusal::Moving))
    }

    /// Takes everything out.
    pub(crate) fn close(&mut self) -> Self {
        if let Some(vm) = &self.vm {
            for entry in &self.entries {
                if let Ok(place) = entry.state {
                    entry.leave(vm, &mut self.vcpus, place);
                }
            }
        }
        core::mem::take(self)
    }
}

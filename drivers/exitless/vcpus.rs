// SPDX-License-Identifier: GPL-2.0-only

//! The vCPUs that have direct interrupts, and whose those are.

use crate::{
    session::Session,
    table::Vm,
    vcpu::Vcpu, //
};
use exitless_vectors::{
    plan::Plan,
    refusal::Refusal,
    vectors::ChosenVector, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kvm_exitless::Armed;

/// Where an interrupt is delivered directly.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) vcpu: u32,
    pub(crate) cpu: u32,
    pub(crate) vector: ChosenVector,
}

/// How the caller wants an interrupt to be delivered.
#[derive(Clone, Copy)]
pub(crate) struct Wish {
    /// The guest exits for each EOI.
    pub(crate) eoi_exits: bool,
    /// Another CPU has to end runs in which the guest keeps interrupts off.
    pub(crate) watched: bool,
}

/// A vCPU that has had a direct interrupt. It keeps its counters.
pub(crate) struct Slot {
    pub(crate) index: u32,
    pub(crate) vcpu: Arc<Vcpu>,
    /// There while it has one.
    armed: Option<Armed<Session>>,
}

/// All of a VM.
#[derive(Default)]
pub(crate) struct Vcpus(KVec<Slot>);

impl Vcpus {
    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.0.iter()
    }

    /// Whether a vCPU is to run in the ordinary way for good.
    pub(crate) fn is_expelled(&self, index: u32) -> bool {
        self.iter()
            .any(|slot| slot.index == index && slot.vcpu.is_expelled())
    }

    /// Makes a vector the guest's. When this returns, no run goes on that does not know it.
    pub(crate) fn allow(&mut self, vm: &Vm, place: Place, wish: Wish) -> Result<(), Refusal> {
        let slot = self.slot(place.vcpu).map_err(|_| Refusal::NoMemory)?;
        let plan = slot.vcpu.plan();
        if plan.owned.contains(place.vector) {
            return Err(Refusal::VectorTaken);
        }
        if slot.armed.is_none() {
            let vcpu = slot.vcpu.clone();
            let armed = Armed::new(vm, place.vcpu, place.cpu, vcpu, wish.watched);
            slot.armed = Some(armed.map_err(refusal_of)?);
        }
        slot.vcpu.set_plan(Plan {
            owned: plan.owned.with(place.vector),
            eoi_exits: plan.eoi_exits || wish.eoi_exits,
        });
        vm.settle();
        Ok(())
    }

    /// Takes a vector from the guest. When this returns, no run goes on that still has it.
    pub(crate) fn deny(&mut self, vm: &Vm, place: Place) {
        let Some(slot) = self.0.iter_mut().find(|slot| slot.index == place.vcpu) else {
            return;
        };
        let plan = slot.vcpu.plan();
        let owned = plan.owned.without(place.vector);
        slot.vcpu.set_plan(Plan {
            owned,
            eoi_exits: plan.eoi_exits && !owned.is_empty(),
        });
        vm.settle();
        if owned.is_empty() {
            slot.armed = None;
        }
    }

    fn slot(&mut self, index: u32) -> Result<&mut Slot> {
        let at = match self.0.iter().position(|slot| slot.index == index) {
            Some(at) => at,
            None => {
                let vcpu = Arc::new(Vcpu::new(), GFP_KERNEL_ACCOUNT)?;
                let armed = None;
                let slot = Slot { index, vcpu, armed };
                self.0.push(slot, GFP_KERNEL_ACCOUNT)?;
                self.0.len() - 1
            }
        };
        self.0.get_mut(at).ok_or(EINVAL)
    }
}

fn refusal_of(error: Error) -> Refusal {
    match error {
        e if e == EBUSY => Refusal::CpuTaken,
        e if e == ENOMEM => Refusal::NoMemory,
        e if e == ENODEV => Refusal::NoWatchdog,
        _ => Refusal::NoGuestX2apic,
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A vCPU's runs, one after the other.
//!
//! ```text
//!            possible, a vector owned
//! ordinary ────────────────────────────► direct
//!    ▲   ▲                                 │ any exit: what was in service at the CPU goes to
//!    │   └─────────────────────────────────┘ the emulated local APIC
//!    └── once at least, after INT n beyond the limit and after an NMI of the host's
//! ```

use crate::plan::Plan;
use crate::vectors::{ChosenVector, VectorSet};

/// What was being delivered when the guest left a direct run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing.
    None,
    /// An interrupt of the CPU, which has acknowledged it.
    Interrupt(u8),
    /// `INT n`.
    Software,
    /// An exception or an NMI of the guest's.
    Other,
}

/// The end of a direct run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// What was being delivered.
    pub event: Event,
    /// The guest left because the delivery ran into a general protection fault.
    pub fault: bool,
    /// The guest left for an NMI of the host's.
    pub nmi: bool,
    /// Chosen vectors in service at the CPU's local APIC.
    pub in_service: VectorSet,
}

/// Whose an interrupt is that ended a direct run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The guest's.
    Guest(ChosenVector),
    /// The host's.
    Host,
    /// Nobody's here: a chosen vector that the guest does not own. The host looks what it is.
    Stray,
}

impl Owner {
    /// Whose a vector is, if the guest owns `owned`.
    pub const fn of(vector: u8, owned: VectorSet) -> Self {
        match ChosenVector::new(vector) {
            None => Self::Host,
            Some(chosen) if owned.contains(chosen) => Self::Guest(chosen),
            Some(_) => Self::Stray,
        }
    }
}

/// Where interrupts belong after a direct run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Vector that the host handles now, or 0.
    pub host: u8,
    /// Vectors in service at the CPU that become pending in the emulated local APIC.
    pub pending: VectorSet,
    /// Vectors in service at the CPU that become in service at the emulated local APIC.
    pub in_service: VectorSet,
}

/// The state between a vCPU's runs. Ordinary to begin with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Runs {
    current: Plan,
    must_be_ordinary: bool,
}

impl Runs {
    /// A run begins; it can be direct if `possible`. Returns what it may do: nothing owned is an
    /// ordinary run.
    pub fn enter(&mut self, possible: bool, plan: Plan) -> Plan {
        self.current = match possible && !self.must_be_ordinary {
            true => plan,
            false => Plan::default(),
        };
        self.must_be_ordinary = false;
        self.current
    }

    /// A direct run has ended.
    pub fn exit(&mut self, exit: &Exit) -> Verdict {
        // The CPU is this vCPU's, and the host's handlers were done when the run began: whatever
        // is in service went to the guest, or is just being delivered.
        let mut verdict = Verdict {
            in_service: exit.in_service,
            ..Verdict::default()
        };
        if let Event::Interrupt(vector) = exit.event {
            if let Some(chosen) = ChosenVector::new(vector) {
                verdict.in_service = verdict.in_service.without(chosen);
            }
            match Owner::of(vector, self.current.owned) {
                Owner::Guest(chosen) => verdict.pending = VectorSet::only(chosen),
                Owner::Host | Owner::Stray => verdict.host = vector,
            }
        }
        // Executed once more with the guest's own limit, INT n does what the guest meant. After
        // an NMI, interrupts and signals of the host get in even if the guest has its own off.
        self.must_be_ordinary = exit.nmi || (exit.event == Event::Software && exit.fault);
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_vector_is_the_host_s() {
        let plan = Plan {
            owned: VectorSet::from_bits(1 << 4),
            eoi_exits: false,
        };
        let mut runs = Runs::default();
        runs.enter(true, plan);
        let verdict = runs.exit(&Exit {
            event: Event::Interrupt(0x25),
            fault: true,
            nmi: false,
            in_service: VectorSet::from_bits(1 << 5),
        });
        let host = Verdict {
            host: 0x25,
            ..Verdict::default()
        };
        assert_eq!(verdict, host);
    }
}

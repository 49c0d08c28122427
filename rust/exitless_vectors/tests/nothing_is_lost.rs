// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A CPU's local APIC, an emulated one and a guest between them, in any order of events: each
//! interrupt that the device raises reaches the guest's handler once, each that the handler saw is
//! completed once, and the host gets each of its own.

use exitless_vectors::plan::Plan;
use exitless_vectors::runs::{Event, Exit, Runs};
use exitless_vectors::vectors::{ChosenVector, VectorSet};
use proptest::prelude::*;

/// What can happen next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The device raises its interrupt with this vector.
    Device(u8),
    /// An interrupt of the host's.
    Host(u8),
    /// The guest's handler, if one runs, ends with an EOI.
    Eoi,
    /// An exit with nothing being delivered; an NMI if so.
    Exit { nmi: bool },
    /// `INT n` beyond the limit.
    Software,
    /// The guest's page for the next interrupt is not there: an exit while it is being delivered.
    Unmapped,
    /// These vectors are owned from the next run on.
    Plan(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0x20u8..0x30).prop_map(Step::Device),
        2 => (0x30u8..=0xff).prop_map(Step::Host),
        4 => Just(Step::Eoi),
        2 => any::<bool>().prop_map(|nmi| Step::Exit { nmi }),
        1 => Just(Step::Software),
        1 => Just(Step::Unmapped),
        1 => any::<u16>().prop_map(Step::Plan),
    ]
}

/// The request and service registers of a local APIC, for the chosen vectors: one priority class,
/// so that one at most is in service.
#[derive(Default)]
struct Apic {
    requested: VectorSet,
    in_service: VectorSet,
}

impl Apic {
    /// The highest that can be delivered now.
    fn next(&self) -> Option<ChosenVector> {
        let highest = self.requested.bits().checked_ilog2()?;
        let is_free = self.in_service.is_empty();
        ChosenVector::new(0x20 + highest as u8).filter(|_| is_free)
    }

    fn acknowledge(&mut self, vector: ChosenVector) {
        self.requested = self.requested.without(vector);
        self.in_service = self.in_service.with(vector);
    }
}

#[derive(Default)]
struct Machine {
    cpu: Apic,
    emulated: Apic,
    runs: Runs,
    plan: Plan,
    /// What the current run may do.
    run: Plan,
    /// Raised, seen by the guest's handler, completed: by vector.
    raised: [u32; 16],
    seen: [u32; 16],
    completed: [u32; 16],
    host: u32,
}

impl Machine {
    fn is_direct(&self) -> bool {
        !self.run.owned.is_empty()
    }

    fn enter(&mut self) {
        let is_idle = self.emulated.requested.is_empty() && self.emulated.in_service.is_empty();
        self.run = self.runs.enter(is_idle, self.plan);
        self.deliver();
    }

    /// Whichever local APIC is the guest's delivers what it can.
    fn deliver(&mut self) {
        let direct = self.is_direct();
        let apic = if direct {
            &mut self.cpu
        } else {
            &mut self.emulated
        };
        if let Some(vector) = apic.next() {
            apic.acknowledge(vector);
            self.seen[number(vector)] += 1;
        }
    }

    fn exit(&mut self, event: Event, nmi: bool) {
        let fault = matches!(event, Event::Software) || host_vector(event).is_some();
        if self.is_direct() {
            let in_service = self.cpu.in_service;
            let verdict = self.runs.exit(&Exit {
                event,
                fault,
                nmi,
                in_service,
            });
            self.host += u32::from(verdict.host != 0);
            let moved = verdict.pending.bits() | verdict.in_service.bits();
            assert_eq!(
                verdict.pending.and(verdict.in_service),
                VectorSet::default()
            );
            assert_eq!(
                moved,
                in_service.bits(),
                "nothing of the guest's stays at the CPU"
            );
            self.cpu.in_service = VectorSet::default();
            let pending = self.emulated.requested.bits() | verdict.pending.bits();
            self.emulated.requested = VectorSet::from_bits(pending);
            assert!(self.emulated.in_service.is_empty());
            self.emulated.in_service = verdict.in_service;
        } else if host_vector(event).is_some() {
            self.host += 1;
        }
        // The host takes what is pending at the CPU, and its handlers pass it on.
        let pending = self.emulated.requested.bits() | self.cpu.requested.bits();
        self.emulated.requested = VectorSet::from_bits(pending);
        self.cpu.requested = VectorSet::default();
        self.enter();
    }

    fn device(&mut self, vector: ChosenVector) {
        let owned = self.run.owned;
        let apic = if self.is_direct() {
            &self.cpu
        } else {
            &self.emulated
        };
        if apic.requested.contains(vector) || !self.plan.owned.contains(vector) {
            return;
        }
        self.raised[number(vector)] += 1;
        if owned.contains(vector) {
            self.cpu.requested = self.cpu.requested.with(vector);
            self.deliver();
        } else {
            // Its vector at the CPU is an ordinary one: the host's handler passes it on.
            let requested = self.emulated.requested.with(vector);
            self.emulated.requested = requested;
            self.exit(Event::None, false);
        }
    }

    fn eoi(&mut self) {
        let direct = self.is_direct();
        let apic = if direct {
            &mut self.cpu
        } else {
            &mut self.emulated
        };
        if let Some(highest) = apic.in_service.bits().checked_ilog2() {
            self.completed[highest as usize] += 1;
            apic.in_service = VectorSet::default();
        }
        match direct && !self.run.eoi_exits {
            true => self.deliver(),
            false => self.exit(Event::None, false),
        }
    }

    fn unmapped(&mut self) {
        match self.cpu.next().filter(|_| self.is_direct()) {
            Some(vector) => {
                self.cpu.acknowledge(vector);
                self.exit(Event::Interrupt(vector.vector()), false);
            }
            None => self.exit(Event::None, false),
        }
    }

    fn software(&mut self) {
        let was_direct = self.is_direct();
        self.exit(Event::Software, false);
        assert!(!was_direct || !self.is_direct(), "INT n would never end");
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Device(vector) => {
                if let Some(vector) = ChosenVector::new(vector) {
                    self.device(vector);
                }
            }
            Step::Host(vector) => self.exit(Event::Interrupt(vector), false),
            Step::Eoi => self.eoi(),
            Step::Exit { nmi } => self.exit(Event::None, nmi),
            Step::Software => self.software(),
            Step::Unmapped => self.unmapped(),
            Step::Plan(bits) => {
                self.plan.owned = VectorSet::from_bits(bits);
                self.exit(Event::None, false);
            }
        }
    }
}

fn number(vector: ChosenVector) -> usize {
    usize::from(vector.vector() - 0x20)
}

fn host_vector(event: Event) -> Option<u8> {
    match event {
        Event::Interrupt(vector) => Some(vector).filter(|&it| ChosenVector::new(it).is_none()),
        _ => None,
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_or_completed_twice(
        eoi_exits in any::<bool>(),
        first in any::<u16>(),
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let mut machine = Machine {
            plan: Plan { owned: VectorSet::from_bits(first), eoi_exits },
            ..Machine::default()
        };
        machine.enter();
        let hosts = steps.iter().filter(|step| matches!(step, Step::Host(_))).count();
        for step in steps {
            machine.take(step);
        }
        // Let the guest come to an end: each EOI makes room for the next interrupt.
        for _ in 0..64 {
            machine.take(Step::Eoi);
        }
        prop_assert_eq!(machine.raised, machine.seen);
        prop_assert_eq!(machine.seen, machine.completed);
        prop_assert_eq!(machine.host as usize, hosts);
    }

    #[test]
    fn the_limit_lets_the_guest_s_vectors_through_and_none_of_the_host_s(bits in 1u16..) {
        let limit = VectorSet::from_bits(bits).idt_limit().unwrap();
        for vector in 0..=u8::MAX {
            let is_within = u16::from(vector) * 16 + 15 <= limit;
            match ChosenVector::new(vector) {
                Some(chosen) if VectorSet::from_bits(bits).contains(chosen) => prop_assert!(is_within),
                None if vector >= 0x30 => prop_assert!(!is_within),
                _ => {}
            }
        }
    }

    #[test]
    fn after_a_forced_exit_one_run_is_ordinary(bits in 1u16.., nmi in any::<bool>()) {
        let plan = Plan { owned: VectorSet::from_bits(bits), eoi_exits: false };
        let mut runs = Runs::default();
        prop_assert_eq!(runs.enter(true, plan), plan);
        let event = if nmi { Event::None } else { Event::Software };
        runs.exit(&Exit { event, fault: !nmi, nmi, in_service: VectorSet::default() });
        prop_assert_eq!(runs.enter(true, plan), Plan::default());
        prop_assert_eq!(runs.enter(true, plan), plan);
    }
}

// SPDX-License-Identifier: GPL-2.0-only

//! A vCPU: the plan for its runs, and what they were.

use exitless_vectors::{
    conduct::Conduct,
    plan::Plan,
    runs::{
        Event,
        Exit,
        Runs,
        Verdict, //
    },
};
use kernel::{
    sync::atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    },
    time::{
        Instant,
        Monotonic, //
    }, //
};
use kvm_exitless::Entrance;

/// What a vCPU's runs were. Only the vCPU's own thread counts.
#[derive(Default)]
pub(crate) struct Counters {
    /// Direct runs.
    pub(crate) direct: Counter,
    /// Ordinary ones.
    pub(crate) ordinary: Counter,
    /// Interrupts that ended a direct run and went to the host.
    pub(crate) to_host: Counter,
    /// Guest's interrupts that ended a direct run and became pending.
    pub(crate) pending: Counter,
    /// Direct runs that ended with an interrupt in service.
    pub(crate) in_service: Counter,
    /// `INT n` beyond the limit.
    pub(crate) software: Counter,
    /// NMIs of the host's.
    pub(crate) nmi: Counter,
    /// Direct runs that the watchdog ended, with the guest's interrupts off.
    pub(crate) overlong: Counter,
}

/// A number that one thread adds to.
pub(crate) struct Counter(Atomic<u64>);

impl Default for Counter {
    fn default() -> Self {
        Self(Atomic::new(0))
    }
}

impl Counter {
    fn add_if(&self, condition: bool) {
        self.0.store(self.get() + u64::from(condition), Relaxed);
    }

    /// The number.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A vCPU.
pub(crate) struct Vcpu {
    plan: Atomic<u32>,
    conduct: Atomic<u64>,
    since: Instant<Monotonic>,
    pub(crate) counters: Counters,
}

impl Vcpu {
    /// One that owns nothing.
    pub(crate) fn new() -> Self {
        Self {
            plan: Atomic::new(Plan::default().bits()),
            conduct: Atomic::new(Conduct::default().bits()),
            since: Instant::now(),
            counters: Counters::default(),
        }
    }

    /// What it may do from its next run on.
    pub(crate) fn plan(&self) -> Plan {
        Plan::from_bits(self.plan.load(Acquire))
    }

    /// Changes that. A run that has begun goes on as before; the caller excludes others.
    pub(crate) fn set_plan(&self, plan: Plan) {
        self.plan.store(plan.bits(), Release);
    }

    /// Whether the guest has kept interrupts off too often to run directly.
    pub(crate) fn is_expelled(&self) -> bool {
        self.conduct().is_too_bad()
    }

    fn conduct(&self) -> Conduct {
        Conduct::from_bits(self.conduct.load(Relaxed))
    }

    /// The guest has had its interrupts off until the watchdog ended the run. Only the vCPU's own
    /// thread says so.
    #[cold]
    fn strike(&self) {
        let now = self.since.elapsed().as_millis() as u64;
        let conduct = self.conduct().struck(now);
        self.conduct.store(conduct.bits(), Relaxed);
    }
}

impl kvm_exitless::Vcpu for Vcpu {
    type Runs = Runs;

    fn enter(&self, runs: &mut Runs, possible: bool, at_home: bool) -> Entrance {
        let stays = at_home && !self.is_expelled();
        let answer = runs.enter(possible && stays, self.plan()).answer();
        self.counters.direct.add_if(answer != 0);
        self.counters.ordinary.add_if(answer == 0);
        Entrance {
            answer,
            look_again: !stays,
        }
    }

    fn exit(&self, runs: &mut Runs, exit: &Exit, overlong: bool) -> Verdict {
        let verdict = runs.exit(exit);
        let counters = &self.counters;
        counters.to_host.add_if(verdict.host != 0);
        counters.pending.add_if(!verdict.pending.is_empty());
        counters.in_service.add_if(!verdict.in_service.is_empty());
        let is_software = exit.event == Event::Software && exit.fault;
        counters.software.add_if(is_software);
        counters.nmi.add_if(exit.nmi);
        counters.overlong.add_if(overlong);
        if overlong {
            self.strike();
        }
        verdict
    }
}

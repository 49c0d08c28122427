// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What happened between two looks at the counters.

use std::collections::HashMap;

use crate::line::{Counters, Place};
use crate::vms::Vm;

/// A region and what is shown of it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The VM's name and its thread's.
    pub(crate) vm: String,
    pub(crate) command: String,
    pub(crate) place: Place,
    pub(crate) channel: String,
    pub(crate) counters: Counters,
}

/// The counters since the regions were set.
pub(crate) fn totals(vms: &[Vm]) -> Vec<Row> {
    let rows = vms.iter().flat_map(|vm| {
        vm.regions.iter().map(|region| Row {
            vm: vm.name.clone(),
            command: vm.command.clone(),
            place: region.place.clone(),
            channel: region.channel.clone(),
            counters: region.counters.clone(),
        })
    });
    rows.collect()
}

/// What `now` has more than `before`, of the regions that `now` has.
pub(crate) fn since(before: &[Row], now: &[Row]) -> Vec<Row> {
    let old: HashMap<_, _> = before
        .iter()
        .map(|row| ((&row.vm, &row.place), &row.counters))
        .collect();
    let rows = now.iter().map(|row| {
        let counters = match old.get(&(&row.vm, &row.place)) {
            Some(old) => difference(old, &row.counters),
            None => row.counters.clone(),
        };
        Row {
            counters,
            ..row.clone()
        }
    });
    rows.collect()
}

/// A counter that is lower than before belongs to a new region in the old one's place.
fn difference(old: &Counters, new: &Counters) -> Counters {
    let minus = |new: u64, old: u64| new.checked_sub(old);
    let all = || {
        let mut waits = new.waits;
        for (wait, old) in waits.iter_mut().zip(old.waits) {
            *wait = minus(*wait, old)?;
        }
        Some(Counters {
            reads: minus(new.reads, old.reads)?,
            writes: minus(new.writes, old.writes)?,
            posted: minus(new.posted, old.posted)?,
            ruled: minus(new.ruled, old.ruled)?,
            spun: minus(new.spun, old.spun)?,
            slept: minus(new.slept, old.slept)?,
            failed: minus(new.failed, old.failed)?,
            timed_out: minus(new.timed_out, old.timed_out)?,
            waits,
        })
    };
    all().unwrap_or_else(|| new.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(vm: &str, start: u64, reads: u64) -> Row {
        let mut counters = Counters {
            reads,
            ..Counters::default()
        };
        counters.waits[3] = reads;
        Row {
            vm: vm.to_owned(),
            command: String::new(),
            place: Place {
                bus: "mmio".to_owned(),
                start,
                size: 8,
            },
            channel: "ring".to_owned(),
            counters,
        }
    }

    #[test]
    fn vms_and_regions_come_and_go() {
        let before = [row("1-3", 0, 10), row("1-3", 8, 10), row("2-3", 0, 10)];
        let now = [row("1-3", 0, 17), row("2-3", 0, 4), row("3-3", 0, 5)];
        let seen: Vec<_> = since(&before, &now)
            .into_iter()
            .map(|row| (row.vm, row.counters.reads, row.counters.waits[3]))
            .collect();
        let want = [("1-3", 7, 7), ("2-3", 4, 4), ("3-3", 5, 5)];
        assert_eq!(seen, want.map(|(vm, a, b)| (vm.to_owned(), a, b)));
    }

    #[test]
    fn nothing_new_is_nothing() {
        let rows = [row("1-3", 0, 10)];
        assert_eq!(since(&rows, &rows)[0].counters, Counters::default());
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The suite `virtio-mmio`: what a request of the stock guest driver, and one of virtio_fe, asks of
//! the VMM and of the device process, for every way to dispatch.
//!
//! A guest reads blocks past its page cache, some and then more, and prints a mark before, between
//! and after; the VMM notes its counters at each. What the second reading has more than the first
//! is the requests alone: boot, shell, programs and console are in both.
//!
//! Time is the machine's, not a count of instructions: under `-icount`, QEMU has been seen to give a
//! nested guest an interrupt while it had them off, so that it waited for a spin lock of its own.
//! With one reader, the counts are exact all the same, but for the wake-ups of a process that
//! looks into a ring by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use l1::job::Job;
use l1::scenario::{Report, Scenario, COUNTERS_MARK};
use serde::Deserialize;

use super::{Lab, Row};
use crate::boot::boot;

const SUITE: &str = "virtio-mmio";
const LIMIT: Duration = Duration::from_secs(900);

/// Requests that the second reading has more than the first: see `tools/lab/guest/init`.
const REQUESTS: i64 = 320 - 64;

/// How many readers run at once, and the marks of each, the last time it is measured.
const DEPTHS: [(u32, [&str; 3]); 2] = [
    (1, ["1 064", "1 320", "1 end"]),
    (4, ["4 064", "4 320", "4 end"]),
];

/// What the VMM noted at a mark.
#[derive(Debug, Clone, Deserialize)]
struct Mark {
    line: String,
    vcpus: Vec<BTreeMap<String, i64>>,
    disks: Vec<Counters>,
}

/// What we read of a disk's counters.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Counters {
    register_reads: ByOrigin,
    register_writes: ByOrigin,
    requests: i64,
    interrupts: i64,
    notify_register: i64,
    notify_eventfd: i64,
    interrupt_status_reads: i64,
    interrupt_acks: i64,
    woken_by_access: i64,
    woken_by_event: i64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct ByOrigin {
    kvm: i64,
    vmm: i64,
    in_process: i64,
}

impl ByOrigin {
    fn sum(self) -> i64 {
        self.kvm + self.vmm + self.in_process
    }
}

/// Counts of what happened between marks.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Counts {
    /// Returns of `KVM_RUN` to the VMM, but for port accesses: those are the console's.
    exits: i64,
    /// Waits of the device process that ended.
    wakeups: i64,
    requests: i64,
    interrupts: i64,
    /// Accesses that came to the device, in whatever process it is.
    accesses: i64,
    status_reads: i64,
    acks: i64,
    notifications: i64,
}

impl Counts {
    fn of(mark: &Mark) -> Result<Self> {
        let disk = mark.disks.first().context("a mark without a disk")?;
        Ok(Self {
            exits: mark.vcpus.iter().map(exits).sum(),
            wakeups: disk.woken_by_access + disk.woken_by_event,
            requests: disk.requests,
            interrupts: disk.interrupts,
            accesses: disk.register_reads.sum() + disk.register_writes.sum(),
            status_reads: disk.interrupt_status_reads,
            acks: disk.interrupt_acks,
            notifications: disk.notify_register + disk.notify_eventfd,
        })
    }

    /// `a - 2b + c`, of each count: what the interval from `b` to `c` has more than that from `a`.
    fn second_less_first([a, b, c]: [Self; 3]) -> Self {
        let of = |count: fn(&Self) -> i64| count(&a) - 2 * count(&b) + count(&c);
        Self {
            exits: of(|c| c.exits),
            wakeups: of(|c| c.wakeups),
            requests: of(|c| c.requests),
            interrupts: of(|c| c.interrupts),
            accesses: of(|c| c.accesses),
            status_reads: of(|c| c.status_reads),
            acks: of(|c| c.acks),
            notifications: of(|c| c.notifications),
        }
    }
}

fn exits(vcpu: &BTreeMap<String, i64>) -> i64 {
    let of_disk = vcpu.iter().filter(|(reason, _)| *reason != "io");
    of_disk.map(|(_, count)| count).sum()
}

/// Boots L1 with a guest for every load: the rows, and what was wrong.
pub(super) fn measure(lab: &Lab) -> Result<(Vec<Row>, Vec<String>)> {
    let directory = lab.places.out("bench/virtio-mmio")?;
    let names = Scenario::loads().map(|load| load.name.to_owned()).collect();
    let job = Job::Scenarios(names);
    let outcome = boot(&lab.machine(&job, 1, &directory), SUITE, LIMIT)?;
    let (mut rows, mut failures) = (Vec::new(), outcome.failures.clone());
    for load in Scenario::loads() {
        match rows_of(load, &outcome.reports) {
            Ok((more, broken)) => {
                rows.extend(more);
                failures.extend(broken);
            }
            Err(error) => failures.push(format!("{}: {error:#}", load.name)),
        }
    }
    Ok((rows, failures))
}

fn rows_of(load: &Scenario, reports: &[Report]) -> Result<(Vec<Row>, Vec<String>)> {
    let report = reports.iter().find(|report| report.scenario == load.name);
    let report = report.context("L1 ended before this guest did")?;
    ensure!(report.failures.is_empty(), "{}", report.failures.join("; "));
    let vmm = report.vmm.as_ref().context("the VMM made no report")?;
    let marks: Vec<Mark> = serde_json::from_value(vmm["marks"].clone()).context("marks")?;
    let (mut rows, mut broken) = (Vec::new(), Vec::new());
    for (depth, texts) in DEPTHS {
        let counts = between(&marks, texts)?;
        ensure!(
            counts.requests == REQUESTS && counts.interrupts > 0,
            "{depth} at a time: {counts:?}, should be {REQUESTS} requests"
        );
        let name = format!("{}-depth{depth}", load.name.trim_start_matches("load-"));
        broken.extend(asked(load, &counts).map(|what| format!("{name}: {what}: {counts:?}")));
        let is_ring = load
            .options
            .iter()
            .any(|option| option.starts_with("tier="));
        rows.extend(figures(&name, &counts).into_iter().map(|row| Row {
            varies: depth > 1 || is_ring && row.metric.starts_with("wakeups"),
            ..row
        }));
    }
    Ok((rows, broken))
}

/// The counts between marks with these texts, of the last round in which the guest's disk had
/// these requests alone: its file system may have some of its own, at any time. The first round
/// warms up.
fn between(marks: &[Mark], texts: [&str; 3]) -> Result<Counts> {
    let of = |text: &str| {
        let line = format!("{COUNTERS_MARK} {text}");
        let marks = marks.iter().filter(|mark| mark.line == line);
        let counts: Vec<Counts> = marks.map(Counts::of).collect::<Result<_>>()?;
        ensure!(counts.len() > 1, "the guest did not print {line:?} again");
        Ok(counts)
    };
    let [first, second, end] = [of(texts[0])?, of(texts[1])?, of(texts[2])?];
    let rounds = first.into_iter().zip(second).zip(end).skip(1);
    let rounds = rounds.map(|((a, b), c)| Counts::second_less_first([a, b, c]));
    let rounds: Vec<Counts> = rounds.collect();
    let undisturbed = rounds.iter().rfind(|counts| counts.requests == REQUESTS);
    let counts = undisturbed.or(rounds.last()).context("no round")?;
    Ok(*counts)
}

/// What of these promises is broken: with registers that are read in memory, neither a request nor
/// an interrupt needs the VMM, and the device process is told of them and asked nothing; with rules
/// it is only told of requests.
fn asked(load: &Scenario, counts: &Counts) -> Option<&'static str> {
    let acks = match load.options {
        ["tier=rules"] => 0,
        ["tier=shadow"] => counts.interrupts,
        _ => return None,
    };
    match counts {
        c if c.exits != 0 => Some("exits to the VMM"),
        c if c.status_reads != 0 => Some("reads of InterruptStatus by the device"),
        c if c.acks > acks => Some("interrupts acknowledged by the device"),
        c if c.accesses != c.notifications + c.acks => Some("other accesses"),
        c if c.wakeups > c.accesses => Some("wake-ups for something else"),
        _ => None,
    }
}

fn figures(case: &str, counts: &Counts) -> Vec<Row> {
    let row = |metric: &str, unit: &str, count: i64, of: i64| Row {
        suite: SUITE.to_owned(),
        case: case.to_owned(),
        metric: metric.to_owned(),
        unit: unit.to_owned(),
        value: (count as f64 / of as f64 * 10_000.0).round() / 10_000.0,
        command: "make bench".to_owned(),
        varies: false,
    };
    let per_request = |metric, count| row(metric, &format!("{metric}/request"), count, REQUESTS);
    let per_interrupt = |metric: &str, count| {
        let unit = format!("{metric}/interrupt");
        row(&unit.replace('/', "-per-"), &unit, count, counts.interrupts)
    };
    vec![
        per_request("exits", counts.exits),
        per_request("wakeups", counts.wakeups),
        per_request("interrupts", counts.interrupts),
        per_request("notifications", counts.notifications),
        per_request("status-reads", counts.status_reads),
        per_request("acks", counts.acks),
        per_interrupt("exits", counts.exits),
        per_interrupt("wakeups", counts.wakeups),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, Value};

    const ASKS_NOBODY: &str = "load-channel-shadow-rules";

    /// Counters of a guest whose device has had `requests`, a notification and nothing else each.
    fn mark(line: &str, requests: i64, fixed: i64) -> Value {
        json!({
            "line": format!("@counters {line}"),
            "vcpus": [{"io": fixed, "mmio": 0, "intr": 0}],
            "disks": [{
                "register_reads": {"kvm": 30, "vmm": 0, "in_process": 0},
                "register_writes": {"kvm": requests + 20, "vmm": 0, "in_process": 0},
                "requests": requests, "interrupts": requests,
                "notify_register": requests, "notify_eventfd": 0,
                "interrupt_status_reads": 3, "interrupt_acks": 3,
                "woken_by_access": requests, "woken_by_event": 0,
            }],
        })
    }

    fn report() -> Report {
        let mut marks = Vec::new();
        let (mut requests, mut fixed) = (100, 1000);
        for (_, texts) in [DEPTHS, DEPTHS].concat() {
            for (text, more) in texts.into_iter().zip([0, 64, 320]) {
                requests += more;
                fixed += 70;
                marks.push(mark(text, requests, fixed));
            }
        }
        Report {
            scenario: ASKS_NOBODY.to_owned(),
            vmm: Some(json!({ "marks": marks })),
            ..Report::default()
        }
    }

    fn measured(report: Report) -> Result<(Vec<Row>, Vec<String>)> {
        rows_of(Scenario::find(ASKS_NOBODY).unwrap(), &[report])
    }

    #[test]
    fn what_both_readings_have_is_not_counted() {
        let mut report = report();
        let vmm = report.vmm.as_mut().unwrap();
        *vmm.pointer_mut("/marks/11/vcpus/0/io").unwrap() = Value::from(1_000_000);
        let (rows, broken) = measured(report).unwrap();
        assert_eq!(broken, [""; 0]);
        let value = |metric: &str| {
            let row = rows
                .iter()
                .find(|r| r.metric == metric && r.case.ends_with("depth4"));
            row.unwrap().value
        };
        assert_eq!(value("exits"), 0.0);
        assert_eq!(value("wakeups"), 1.0);
        assert_eq!(value("wakeups-per-interrupt"), 1.0);
        assert_eq!(value("status-reads"), 0.0);
        assert_eq!(rows.len(), 16);
        // One reader's rows are exact, but for the wake-ups by a ring.
        assert_eq!(rows.iter().filter(|row| !row.varies).count(), 6);
    }

    #[test]
    fn whoever_is_asked_breaks_the_promise() {
        let counters = "disks/0";
        for place in [
            "vcpus/0/mmio".to_owned(),
            "vcpus/0/intr".to_owned(),
            format!("{counters}/interrupt_status_reads"),
            format!("{counters}/interrupt_acks"),
            format!("{counters}/register_reads/kvm"),
            format!("{counters}/woken_by_event"),
        ] {
            let mut report = report();
            // The very last mark.
            let place = format!("/marks/11/{place}");
            let vmm = report.vmm.as_mut().unwrap();
            let count = vmm.pointer_mut(&place).unwrap();
            *count = Value::from(count.as_i64().unwrap() + 1);
            let (_, broken) = measured(report).unwrap();
            assert_eq!(broken.len(), 1, "{place}: {broken:?}");
        }
    }

    #[test]
    fn another_number_of_requests_is_an_error() {
        let mut report = report();
        let vmm = report.vmm.as_mut().unwrap();
        *vmm.pointer_mut("/marks/11/disks/0/requests").unwrap() = Value::from(1);
        assert!(measured(report).is_err());
    }

    #[test]
    fn a_mark_that_is_missing_is_an_error() {
        let mut report = report();
        let marks = report.vmm.as_mut().unwrap()["marks"]
            .as_array_mut()
            .unwrap();
        marks.retain(|mark| mark["line"] != "@counters 4 320");
        let error = measured(report).unwrap_err().to_string();
        assert!(error.contains("@counters 4 320"), "{error}");
    }
}

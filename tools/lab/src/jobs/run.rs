// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `lab run`: a guest per dispatch mode, and a report for the user.

use std::time::Duration;

use anyhow::Result;
use l1::job::Job;
use l1::scenario::SCENARIOS;

use super::{verdict, Lab};
use crate::out;
use crate::report;

/// All guests together; a healthy run takes about a third of it.
const LIMIT: Duration = Duration::from_secs(150);

/// Boots the guests and prints what became of them.
///
/// # Errors
///
/// L1 cannot be booted or a result cannot be written.
pub(crate) fn run(lab: &Lab) -> Result<bool> {
    let wanted = SCENARIOS.iter().filter(|scenario| scenario.in_run);
    let names: Vec<String> = wanted.map(|scenario| scenario.name.to_owned()).collect();
    let directory = lab.places.out("run")?;
    let outcome = lab.boot(&Job::Scenarios(names.clone()), "guests", &directory, LIMIT)?;
    let cases = report::judge(&names, &outcome, lab.images.files);
    let json = serde_json::to_string_pretty(&cases)?;
    out::write(&directory.join("report.json"), &format!("{json}\n"))?;
    println!("{}", report::table(&cases));
    let mut failures: Vec<String> = outcome.failures;
    for case in &cases {
        let named = |failure| format!("{}: {failure}", case.scenario);
        failures.extend(case.failures.iter().map(named));
    }
    Ok(verdict(&failures))
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `lab run`: a guest per dispatch mode, and a report for the user.

use anyhow::Result;
use clap::Args;
use l1::scenario::Scenario;

use super::{find, verdict, Lab};
use crate::report;

/// Which guests.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Scenarios of `lab test` [default: one for each dispatch mode, and one with kills]
    scenarios: Vec<String>,
}

impl Arguments {
    fn chosen(&self) -> Result<Vec<&'static Scenario>> {
        if self.scenarios.is_empty() {
            return Ok(Scenario::all().filter(|scenario| scenario.in_run).collect());
        }
        self.scenarios.iter().map(|name| find(name)).collect()
    }
}

/// Boots the guests and prints what became of them.
///
/// # Errors
///
/// There is no such scenario, L1 cannot be booted or a result cannot be written.
pub(crate) fn run(lab: &Lab, arguments: &Arguments) -> Result<bool> {
    let guests = lab.guests("run", &arguments.chosen()?)?;
    println!("{}", report::table(&guests.reports));
    let mut failures = guests.failures;
    for report in &guests.reports {
        let named = |failure| format!("{}: {failure}", report.scenario);
        failures.extend(report.failures.iter().map(named));
    }
    Ok(verdict(&failures))
}

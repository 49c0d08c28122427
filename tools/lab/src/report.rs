// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What became of the guests: judged against what each scenario promises, and as a table.

use comfy_table::{presets, CellAlignment, Table};
use l1::scenario::Report;

use crate::boot::Outcome;

/// The reports of `names`, each with everything that was wrong. A guest that never came to
/// its turn has failed, too.
pub(crate) fn judge(names: &[String], outcome: &Outcome, files: u64) -> Vec<Report> {
    let judged = |name: &String| {
        let found = outcome
            .reports
            .iter()
            .find(|report| report.scenario == *name);
        let Some(report) = found else {
            return Report {
                scenario: name.clone(),
                failures: vec!["L1 ended before this guest did".to_owned()],
                ..Report::default()
            };
        };
        let mut report = report.clone();
        let wrong = missing_files(&report, files);
        report.failures.extend(wrong);
        report
    };
    names.iter().map(judged).collect()
}

/// The counts must be those of the image that the lab made, seen from inside and outside.
fn missing_files(report: &Report, files: u64) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(guest) = &report.guest {
        if guest.files_verified != files {
            wrong.push(format!(
                "the guest verified {} of {files} files",
                guest.files_verified
            ));
        }
        if guest.files_written == 0 {
            wrong.push("the guest wrote no file".to_owned());
        }
    }
    if let (Some(guest), Some(image)) = (&report.guest, &report.image) {
        if image.files_original != files || image.files_written != guest.files_written {
            wrong.push(format!(
                "the image holds {} original and {} written files, should hold {files} and {}",
                image.files_original, image.files_written, guest.files_written
            ));
        }
    }
    wrong
}

/// One row for each guest.
pub(crate) fn table(reports: &[Report]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_header([
        "guest",
        "verdict",
        "files verified",
        "MiB read",
        "MiB written",
        "device processes",
        "seconds",
    ]);
    for report in reports {
        let guest = |value: fn(&l1::scenario::GuestReport) -> String| {
            report.guest.as_ref().map_or_else(|| "-".to_owned(), value)
        };
        table.add_row([
            report.scenario.clone(),
            if report.failures.is_empty() {
                "ok"
            } else {
                "FAILED"
            }
            .to_owned(),
            guest(|g| g.files_verified.to_string()),
            guest(|g| mib(g.sectors_read)),
            guest(|g| mib(g.sectors_written)),
            report.device_processes.to_string(),
            format!("{:.1}", report.seconds),
        ]);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Sectors of 512 bytes as MiB.
fn mib(sectors: u64) -> String {
    format!("{:.1}", sectors as f64 / 2048.0)
}

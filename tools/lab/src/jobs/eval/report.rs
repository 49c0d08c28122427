// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! One page with everything, for somebody who has not read the code. It needs nothing but a browser.

use std::fmt::Write;

use super::matrix::Matrix;
use super::plots::Plot;
use super::row::Row;

const STYLE: &str =
    "body{font-family:sans-serif;max-width:75em;margin:2em auto;padding:0 1em;line-height:1.4}\
    table{border-collapse:collapse;font-size:.85em;margin:1em 0}\
    td,th{padding:.2em .6em;text-align:right;border-bottom:1px solid #ddd}\
    td:nth-child(-n+3),th:nth-child(-n+3){text-align:left}\
    .lost{background:#fdd}svg{max-width:100%;height:auto}\
    pre{background:#f4f4f4;padding:1em;overflow:auto}";

const WHAT: &str = "\
<p>A sender gives a guest frames at a constant rate. The guest's kernel sends each one back (XDP), and \
the sender notes how many do not return, and how long the others take. In between is a virtual network \
device in a process of its own. What differs is the way from the guest's register accesses to that \
process.</p>
<pre>sender ─► tap ─► device process ─► receive ring ─► guest
   ◄───── tap ◄─ device process ◄─ transmit ring ◄── sends it back</pre>
<table><tr><th>mode</th><th>who gets the guest's register accesses</th></tr>
<tr><td>exit-ipc</td><td>the VMM, which asks the device process over a socket</td></tr>
<tr><td>socket</td><td>the device process, from KVM over a socket: ioregionfd</td></tr>
<tr><td>channel</td><td>the device process, from KVM over a ring in shared memory</td></tr>
<tr><td>shadow</td><td>as channel; reads find the register's value in memory, and do not stop the guest</td></tr>
<tr><td>rules</td><td>as shadow; KVM itself completes acknowledgements of interrupts, and notifications \
are not waited for</td></tr></table>
<p>Everything shares one emulated processor whose clock counts instructions: one instruction is one \
nanosecond. So the same run gives the same figures on every machine, to the last digit, but a nanosecond \
here is not one of real hardware, and what an exit costs there is not in it. The sender comes before the \
device, the device before the guest when several have something to do. Rates are relative: 100 % is how \
many frames a guest sends back that always has 32 waiting.</p>";

/// The page.
pub(super) fn html(matrix: &Matrix, rows: &[Row], plots: &[Plot]) -> String {
    let mut page = String::new();
    // A string takes everything.
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Shunt: load, latency, loss</title>\
         <style>{STYLE}</style>\n<h1>Load, latency and loss of a virtual network device</h1>\n{WHAT}\n\
         <p>{} frames for each load.</p>\n<h2>Charts</h2>\n",
        matrix.frames
    );
    for (_, svg) in plots {
        page.push_str(svg);
    }
    page.push_str("<h2>Capacity</h2>\n<p>With 32 frames under way, all of them returned.</p>\n");
    table(&mut page, rows.iter().filter(|row| row.rate.is_none()));
    page.push_str("<h2>Every load</h2>\n");
    table(&mut page, rows.iter().filter(|row| row.rate.is_some()));
    page.push_str("<p><code>summary.json</code> has the same rows, <code>raw/</code> what they come from.</p></html>\n");
    page
}

const COLUMNS: [&str; 13] = [
    "interface",
    "ring",
    "mode",
    "bytes",
    "rate, %",
    "ns per frame",
    "median, µs",
    "99 %, µs",
    "exits to the VMM, per frame",
    "accesses, per frame",
    "wake-ups of the device, per frame",
    "interrupts, per frame",
    "lost",
];

fn table<'a>(page: &mut String, rows: impl Iterator<Item = &'a Row>) {
    let heads = COLUMNS.map(|column| format!("<th>{column}</th>")).concat();
    let _ = writeln!(page, "<table><tr>{heads}</tr>");
    for row in rows {
        let class = match row.loss_percent() > 0.0 {
            true => " class=\"lost\"",
            false => "",
        };
        let cells = cells(row).map(|cell| format!("<td>{cell}</td>")).concat();
        let _ = writeln!(page, "<tr{class}>{cells}</tr>");
    }
    page.push_str("</table>\n");
}

fn cells(row: &Row) -> [String; COLUMNS.len()] {
    let per_frame = |count: i64| format!("{:.2}", row.per_frame(count));
    let micros = |nanoseconds: u64| format!("{:.1}", nanoseconds as f64 / 1000.0);
    [
        row.interface.clone(),
        row.ring.clone(),
        row.mode.clone(),
        row.size.to_string(),
        row.rate
            .map_or("window".to_owned(), |rate| rate.to_string()),
        (row.nanoseconds / row.sent.max(1)).to_string(),
        micros(row.median),
        micros(row.slow),
        per_frame(row.exits),
        per_frame(row.accesses),
        per_frame(row.wakeups),
        per_frame(row.interrupts as i64),
        lost(row),
    ]
}

/// How many, and where.
fn lost(row: &Row) -> String {
    let parts = row.loss.parts();
    let parts = parts.iter().filter(|(_, frames)| *frames != 0);
    let parts: Vec<String> = parts
        .map(|(name, frames)| format!("{frames} {name}"))
        .collect();
    match parts.is_empty() {
        true => "0".to_owned(),
        false => parts.join(", "),
    }
}

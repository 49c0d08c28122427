// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The suites `fe-blk` and `fe-net`: what virtio_fe.ko and the kernel's own drivers do for a request
//! or a packet, in instructions and accesses, counted by address with a plugin of QEMU's. See `tools/fe_bench`.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use fe_bench::line::Line;
use fe_bench::plan::{Kind, Machine as Plan, MACHINES};
use fe_tests::plan::Bus;
use fe_tests::wire;
use l1::job::Job;

use super::super::virtio_fe::bus;
use super::counts::Count;
use super::shares;
use super::symbols::Symbols;
use super::{Lab, Row};
use crate::boot::{boot, Outcome};
use crate::qemu::{escaped, Hardware, Machine};

const LIMIT: Duration = Duration::from_secs(300);

/// L1's kernel has its own drivers built in; the bench loads them as modules.
const NOTHING_BUILT_IN: &str =
    "initcall_blacklist=virtio_init,virtio_pci_driver_init,virtio_mmio_init,virtio_blk_init";

/// Functions that access registers for drivers (`lib/iomap.c`, `rust/helpers/io.c`).
const ACCESSORS: &[&str] = &[
    "ioread*",
    "iowrite*",
    "rust_helper_read*",
    "rust_helper_write*",
];

/// An IOMMU that does not remap interrupts: QEMU's looks at the clock for that, in places where
/// `-icount` forbids it.
const IOMMU: &[&str] = &["-device", "intel-iommu"];

/// Functions that give and take memory (`mm/slub.c`).
const SLAB: &[&str] = &[
    "__kmalloc*",
    "kmem_cache_alloc*",
    "kmem_cache_free*",
    "kfree",
    "krealloc*",
];

/// Functions that each map a piece of memory (`kernel/dma/mapping.c`, `drivers/iommu/dma-iommu.c`).
const MAPS: &[&str] = &["dma_map_phys", "dma_iova_link"];

/// Boots all machines, or one: the rows, and what was wrong.
pub(super) fn measure(lab: &Lab, only: Option<&str>) -> Result<(Vec<Row>, Vec<String>)> {
    let plugin = plugin(lab)?;
    let symbols = Symbols::of_kernel(lab)?;
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    let is_wanted = |plan: &&Plan| only.is_none_or(|only| plan.name == only);
    for plan in MACHINES.iter().filter(is_wanted) {
        let (more, broken) = on(lab, plan, &plugin, &symbols)?;
        rows.extend(more);
        failures.extend(broken);
    }
    failures.extend(shares::exceeded(&rows));
    Ok((rows, failures))
}

/// Builds the plugin.
fn plugin(lab: &Lab) -> Result<PathBuf> {
    let status = Command::new("cargo")
        .args(["build", "--release", "--quiet", "--package", "tcg_counts"])
        .arg("--manifest-path")
        .arg(lab.places.source("tools/Cargo.toml"))
        .arg("--target-dir")
        .arg(lab.places.out("lab/plugin")?)
        .status()
        .context("starting cargo")?;
    ensure!(status.success(), "the plugin does not build");
    Ok(lab
        .places
        .out("lab/plugin/release")?
        .join("libtcg_counts.so"))
}

/// One deterministic boot.
fn on(lab: &Lab, plan: &Plan, plugin: &Path, symbols: &Symbols) -> Result<(Vec<Row>, Vec<String>)> {
    let name = format!("fe-{}", plan.name);
    let directory = lab.places.out(&format!("bench/{name}"))?;
    let file = directory.join("counts");
    let job = Job::Program(
        ["/bin/fe_bench", "--machine", plan.name]
            .map(str::to_owned)
            .to_vec(),
    );
    let mut hardware = hardware(plan);
    let plugin = plugin_words(plugin, &file, symbols);
    hardware.arguments.extend(["-plugin".to_owned(), plugin]);
    let machine = Machine {
        hardware: &hardware,
        deterministic: true,
        ..lab.machine(&job, 1, &directory)
    };
    let outcome = boot(&machine, &name, LIMIT)?;
    let mut failures = outcome.failures.clone();
    if !outcome.succeeded() {
        failures.extend_from_slice(outcome.stream("fe_bench.stderr"));
        failures.push(format!("{name} failed"));
        return Ok((vec![], failures));
    }
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let rows = rows(plan, &outcome, &Count::all(&text)?, symbols)?;
    Ok((rows, failures))
}

fn plugin_words(plugin: &Path, file: &Path, symbols: &Symbols) -> String {
    let device = |place: Range<u64>| format!(",device={:x}-{:x}", place.start, place.end - 1);
    let places: String = symbols.places(ACCESSORS).into_iter().map(device).collect();
    format!("{},out={}{places}", escaped(plugin), escaped(file))
}

fn hardware(plan: &Plan) -> Hardware {
    let words = match plan.bus {
        Bus::PciWithIommu => IOMMU,
        other => bus::arguments(other),
    };
    let mut arguments: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    arguments.extend(match plan.kind {
        Kind::Disk => disk(plan),
        Kind::Wire => wire(plan),
    });
    Hardware {
        machine: bus::machine(plan.bus),
        before: vec![],
        arguments,
        cmdline: format!("{NOTHING_BUILT_IN} {}", bus::words(plan.bus)),
    }
}

fn disk(plan: &Plan) -> Vec<String> {
    let device = match plan.bus {
        Bus::Mmio => "virtio-blk-device",
        _ => "virtio-blk-pci",
    };
    let drive = "driver=null-co,read-zeroes=on,size=1G,if=none,id=disk".to_owned();
    let device = format!("{device},drive=disk,num-queues=1,{}", plan.properties);
    vec!["-drive".to_owned(), drive, "-device".to_owned(), device]
}

/// Devices that look for packets when it is time for that, by L1's clock, and not when a thread of
/// QEMU's gets round to it.
fn wire(plan: &Plan) -> Vec<String> {
    let mut arguments = Vec::new();
    for end in 0..2 {
        let (mac, properties) = (wire::mac(0, end), plan.properties);
        let backend = format!("hubport,id=end{end},hubid=0");
        let device = format!(
            "virtio-net-pci,romfile=,netdev=end{end},mac={mac},tx=timer,ioeventfd=off,{properties}"
        );
        arguments.extend(["-netdev".to_owned(), backend, "-device".to_owned(), device]);
    }
    arguments
}

/// The rows of a machine. Its counts are in the order of its work.
fn rows(plan: &Plan, outcome: &Outcome, counts: &[Count], symbols: &Symbols) -> Result<Vec<Row>> {
    let (mut code, mut rows) = (Vec::new(), Vec::new());
    let mut counts = counts.iter();
    for line in outcome.stream("fe_bench") {
        match serde_json::from_str(line).with_context(|| line.clone())? {
            Line::Code { driver, first, end } => code.push((driver, first..end)),
            Line::Work {
                driver,
                work,
                operations,
            } => {
                let count = counts.next().context("work that was not counted")?;
                let case = plan.case(driver, &work);
                let code = code.iter().filter(|(of, _)| *of == driver);
                let code: Vec<_> = code.map(|(_, place)| place.clone()).collect();
                let metrics = of_work(&case, count, operations, &code, symbols);
                rows.extend(metrics.map(|row| Row {
                    suite: plan.kind.suite().to_owned(),
                    ..row
                }));
            }
        }
    }
    Ok(rows)
}

/// The rows of some work of a driver whose code is in these places.
fn of_work(
    case: &str,
    count: &Count,
    operations: u64,
    code: &[Range<u64>],
    symbols: &Symbols,
) -> [Row; 5] {
    [
        ("driver-instructions", count.instructions_in(code)),
        ("exits", count.accesses()),
        ("slab-calls", count.calls(&symbols.addresses(SLAB))),
        ("maps", count.calls(&symbols.addresses(MAPS))),
        ("instructions", count.all_instructions()),
    ]
    .map(|(metric, number)| Row {
        suite: "fe-blk".to_owned(),
        case: case.to_owned(),
        metric: metric.to_owned(),
        unit: "1".to_owned(),
        // As exact as the last one of a batch.
        value: (number as f64 / operations as f64 * 1000.0).round() / 1000.0,
        command: "make bench".to_owned(),
        varies: varies(metric, case),
    })
}

/// Whether another run may give something else. Whether the CPU sleeps before the device has answered
/// depends on QEMU's threads, and when it does, others work; with many requests at a time they have
/// no share in what the slab does.
fn varies(metric: &str, case: &str) -> bool {
    match metric {
        "driver-instructions" | "exits" | "maps" => false,
        "slab-calls" => !case.ends_with("-read-qd32"),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: &str = "instructions 0 10\ninstructions a0 6\ninstructions b0 5\n\
         instructions 20 3\naccesses a0 2\nend\n";

    #[test]
    fn a_row_is_per_operation() {
        let count = &Count::all(COUNTS).unwrap()[0];
        let symbols = Symbols::parse("20 T kfree\n30 T dma_map_phys\n");
        let rows = of_work(
            "c-pci-split-read-qd32",
            count,
            2,
            &[0xa0..0xa8, 0xa8..0xb0],
            &symbols,
        );
        let value = |metric| rows.iter().find(|row| row.metric == metric).unwrap().value;
        assert_eq!(value("driver-instructions"), 3.0);
        assert_eq!(value("exits"), 1.0);
        assert_eq!(value("slab-calls"), 1.5);
        assert_eq!(value("maps"), 0.0);
        assert_eq!(value("instructions"), 12.0);
    }

    #[test]
    fn what_depends_on_threads_varies() {
        assert!(!varies("exits", "c-pci-split-read-qd1"));
        assert!(!varies("slab-calls", "c-pci-split-read-qd32"));
        assert!(varies("slab-calls", "c-pci-split-read-qd1"));
        assert!(varies("instructions", "c-pci-split-read-qd32"));
    }
}

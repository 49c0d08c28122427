// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The modules of a driver, and where they are.

use std::ffi::CString;
use std::fs::{self, File};

use anyhow::{Context, Result};
use fe_bench::line::Line;
use fe_bench::plan::{Driver, Kind, Machine};
use fe_tests::plan::Bus;
use rustix::fs::OFlags;
use rustix::system::{delete_module, finit_module};

const DIRECTORY: &str = "/lib/modules";

/// Those of a driver, each after those it needs.
fn names(driver: Driver, machine: &Machine) -> &'static [&'static str] {
    match (driver, machine.kind, machine.bus) {
        (Driver::Rust, ..) => &["virtio_fe"],
        (Driver::C, Kind::Disk, Bus::Mmio) => &["c_virtio", "c_virtio_mmio", "c_virtio_blk"],
        (Driver::C, Kind::Disk, _) => &["c_virtio", "c_virtio_pci", "c_virtio_blk"],
        (Driver::C, Kind::Wire, _) => &[
            "failover",
            "net_failover",
            "c_virtio",
            "c_virtio_pci",
            "c_virtio_net",
        ],
    }
}

/// The modules of a driver.
pub(crate) struct Modules {
    driver: Driver,
    names: &'static [&'static str],
}

impl Modules {
    /// Loads them.
    pub(crate) fn load(driver: Driver, machine: &Machine) -> Result<Self> {
        let names = names(driver, machine);
        for name in names {
            let path = format!("{DIRECTORY}/{name}.ko");
            let file = File::open(&path).with_context(|| path.clone())?;
            finit_module(&file, c"", 0).with_context(|| format!("loading {path}"))?;
        }
        Ok(Self { driver, names })
    }

    /// Unloads them.
    pub(crate) fn unload(self) -> Result<()> {
        for name in self.names.iter().rev() {
            let flags = OFlags::NONBLOCK.bits() as i32;
            delete_module(&CString::new(*name)?, flags).with_context(|| format!("rmmod {name}"))?;
        }
        Ok(())
    }

    /// Where their code is, by the symbols there.
    pub(crate) fn code(&self) -> Result<Vec<Line>> {
        let symbols = fs::read_to_string("/proc/kallsyms").context("/proc/kallsyms")?;
        let mut functions: Vec<(u64, &str)> = symbols.lines().filter_map(function).collect();
        functions.sort_unstable();
        let modules: Vec<_> = functions.chunk_by(|a, b| a.1 == b.1).collect();
        let ends = modules.iter().skip(1).map(|next| next[0].0);
        let ours = modules.iter().zip(ends.chain([u64::MAX]));
        let ours = ours.filter(|(functions, _)| self.names.contains(&functions[0].1));
        let lines = ours.map(|(functions, end)| Line::Code {
            driver: self.driver,
            first: functions[0].0,
            end,
        });
        Ok(lines.collect())
    }
}

/// Address and module of a function of a module, in a line of `/proc/kallsyms`.
fn function(line: &str) -> Option<(u64, &str)> {
    let mut words = line.split_whitespace();
    let (address, kind, _name, module) =
        (words.next()?, words.next()?, words.next()?, words.next()?);
    let module = module.strip_prefix('[')?.strip_suffix(']')?;
    let address = u64::from_str_radix(address, 16).ok()?;
    matches!(kind, "t" | "T" | "w" | "W").then_some((address, module))
}

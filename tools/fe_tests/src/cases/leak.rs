// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The module comes, works and goes again and again, and the kernel has all that it had before.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;

use anyhow::{ensure, Context, Result};
use fe_tests::content::{FIRST, READ_ONLY};
use fe_tests::plan::Machine;
use module_tests::verdict::Skip;

use super::{open, wire};
use crate::driver::{self, tell, Module};

/// Times until the kernel's caches have what they want, and times that are looked at.
const WARM: u32 = 10;
const TIMES: u32 = 50;

/// How often it is looked what there is, with a time between. Much is freed only some time after it
/// was not needed any more, but what was lost is there at each look: the least counts.
const LOOKS: u32 = 6;

/// KiB of what is mapped page by page, so that no less is lost each time. Stacks of the kernel's own threads,
/// which come and go, are in it.
const PAGE: u64 = 4;

/// KiB of free pages that may be missing for each time: lists of pages of the CPUs' own come and go.
const PAGES: u64 = 16;

/// What a kernel that checks itself has for that. Of objects that it watches it keeps up to a thousand
/// free ones (`ODEBUG_POOL_SIZE`), whatever is watched. kmemleak has one for each object of all other
/// caches, which is their sum, and each of them is judged by itself.
const CHECKERS: [&str; 2] = ["debug_objects_cache", "kmemleak_object"];

const SLABS: &str = "/sys/kernel/slab";
const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";

/// What is used, by name: objects of each of the kernel's caches, and KiB of other memory.
type Used = BTreeMap<String, u64>;

/// When it has gone, nothing of it is left, and not one object more for each time is in use.
pub(super) fn run(machine: &Machine, module: &Module) -> Result<()> {
    let caches = caches()?;
    let before = times(WARM, &caches, machine, module)?;
    let after = times(TIMES, &caches, machine, module)?;
    let more = after.iter().map(|(name, &after)| {
        let before = before.get(name).copied().unwrap_or(0);
        (name, after.saturating_sub(before))
    });
    let most = |name: &str| match name {
        "pages" => PAGES * u64::from(TIMES),
        "vmalloc" => PAGE * u64::from(TIMES) - 1,
        _ if CHECKERS.contains(&name) => u64::MAX,
        _ => u64::from(TIMES) - 1,
    };
    let leaks: Vec<_> = more.filter(|(name, more)| *more > most(name)).collect();
    ensure!(leaks.is_empty(), "more after {TIMES} times: {leaks:?}");
    Ok(())
}

/// kmemleak, if the kernel has it, knows of nothing that nobody refers to.
pub(super) fn orphans(_machine: &Machine, _module: &Module) -> Result<()> {
    if !fs::exists(KMEMLEAK)? {
        return Err(Skip("this kernel has no kmemleak".to_owned()).into());
    }
    // What is new it takes for lost only when it was the same twice.
    for _ in 0..2 {
        tell(KMEMLEAK, "scan")?;
    }
    let found = fs::read_to_string(KMEMLEAK).context(KMEMLEAK)?;
    ensure!(found.is_empty(), "{found}");
    Ok(())
}

/// What is used when it has come and gone for so many times.
fn times(times: u32, caches: &[File], machine: &Machine, module: &Module) -> Result<Used> {
    for time in 0..times {
        once(machine, module).with_context(|| format!("time {time}"))?;
    }
    let mut least = used(caches)?;
    for _ in 1..LOOKS {
        once(machine, module)?;
        for (name, used) in used(caches)? {
            let least = least.entry(name).or_insert(used);
            *least = used.min(*least);
        }
    }
    Ok(least)
}

/// It works, goes, and comes.
fn once(machine: &Machine, module: &Module) -> Result<()> {
    for plan in machine.disks {
        open(plan)?.verify(READ_ONLY.start, 1024, FIRST)?;
    }
    wire::still_work(machine)?;
    module.unload()?;
    nothing_left()?;
    module.load()
}

fn nothing_left() -> Result<()> {
    for (directory, prefix) in [
        ("/sys/kernel/debug", driver::DRIVER),
        ("/sys/block", "vfe"),
        ("/sys/class/net", "eth"),
    ] {
        for entry in fs::read_dir(directory).context(directory)? {
            let name = entry?.file_name();
            let is_left = name.to_string_lossy().starts_with(prefix);
            ensure!(!is_left, "{directory} still has {name:?}");
        }
    }
    let table = fs::read_to_string("/proc/interrupts").context("/proc/interrupts")?;
    // Devices are named by their place on the bus, and each has its own vectors.
    ensure!(!table.contains("PCI-MSI"), "interrupts are left: {table}");
    Ok(())
}

/// What makes the kernel's caches give back what they can. Each that is opened takes an object of
/// `kmalloc-96`, which after that waits to be given back, so they are opened only once.
fn caches() -> Result<Vec<File>> {
    let directory = fs::read_dir(SLABS).context(SLABS)?;
    directory
        .map(|entry| {
            let path = entry?.path().join("shrink");
            let file = OpenOptions::new().write(true).open(&path);
            file.with_context(|| path.display().to_string())
        })
        .collect()
}

/// What is used now, without what could be given back.
fn used(caches: &[File]) -> Result<Used> {
    tell("/proc/sys/vm/drop_caches", "3")?;
    for mut cache in caches {
        // One that has gone since then has nothing.
        let _ = cache.write(b"1");
    }
    let slabs = fs::read_to_string("/proc/slabinfo").context("/proc/slabinfo")?;
    // Two lines of headings; then a name, and objects in use.
    let mut used: Used = slabs
        .lines()
        .skip(2)
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
        })
        .collect();
    let table = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let size = |wanted: &str| -> Result<u64> {
        let line = table.lines().find_map(|line| line.strip_prefix(wanted));
        let words = line.with_context(|| wanted.to_owned())?.trim();
        Ok(words.trim_end_matches(" kB").parse()?)
    };
    let taken = size("MemTotal:")? - size("MemFree:")?;
    // A kernel that checks itself also takes pages for that: for stacks, which it never forgets, and
    // KASAN for the shadow of what is mapped.
    if !fs::exists(KMEMLEAK)? {
        used.insert("pages".to_owned(), taken);
    }
    used.insert("percpu".to_owned(), size("Percpu:")?);
    used.insert("vmalloc".to_owned(), size("VmallocUsed:")?);
    Ok(used)
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the threads of a hung process are doing, from /proc, as KTAP diagnostics.

use std::fs;
use std::path::Path;

/// Prints name, state, system call and kernel stack of every thread.
pub(crate) fn print(process: u32) {
    let tasks = format!("/proc/{process}/task");
    let Ok(entries) = fs::read_dir(&tasks) else {
        println!("# {tasks}: gone");
        return;
    };
    for task in entries.flatten() {
        print_task(&task.path());
    }
}

fn print_task(task: &Path) {
    let read = |name: &str| fs::read_to_string(task.join(name)).unwrap_or_default();
    let status = read("status");
    let field = |name: &str| {
        let line = status
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or(name);
        line.trim_start_matches(name).trim().to_owned()
    };
    println!("# thread {} {}", task.display(), field("Name:"));
    println!(
        "#   state {}, pending signals {}",
        field("State:"),
        field("SigPnd:")
    );
    println!(
        "#   system call {}, waits in {}",
        read("syscall").trim(),
        read("wchan").trim()
    );
    for line in read("stack").lines() {
        println!("#   {line}");
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The rate of this machine's time-stamp counter, which TCG hands through to L1.

use std::fs;

/// In kHz, as this machine's kernel has measured it. `None`: it does not say.
pub(super) fn khz() -> Option<u64> {
    khz_in(&fs::read_to_string("/proc/cpuinfo").ok()?)
}

/// A loop of Linux's delay takes a cycle of the counter on x86, and half a bogomips is a million
/// loops a second (`show_cpuinfo` in `arch/x86/kernel/cpu/proc.c`).
fn khz_in(cpuinfo: &str) -> Option<u64> {
    let line = cpuinfo.lines().find(|line| line.starts_with("bogomips"))?;
    let (mega, hundredths) = line.split_once(':')?.1.trim().split_once('.')?;
    let (mega, hundredths): (u64, u64) = (mega.parse().ok()?, hundredths.parse().ok()?);
    Some((100 * mega + hundredths) * 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read() {
        let x86 =
            "processor\t: 0\ncpu MHz\t\t: 1200.000\nbogomips\t: 5192.20\nclflush size\t: 64\n";
        assert_eq!(khz_in(x86), Some(2_596_100));
        let arm = "processor\t: 0\nBogoMIPS\t: 50.00\n";
        assert_eq!(khz_in(arm), None);
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Finds in a kernel's log what a healthy kernel never prints.

/// Text that stands only in a report of something wrong. Where the kernel prints it:
/// `lib/bug.c`, `kernel/panic.c`, `arch/x86/mm/fault.c`, `arch/x86/kernel/dumpstack.c`,
/// `kernel/locking/lockdep.c`, `mm/kasan/report.c`, `kernel/rcu/tree_stall.h`,
/// `kernel/hung_task.c`, `kernel/watchdog.c`, `lib/refcount.c`, `fs/ext4/super.c`,
/// `init/initramfs.c`. And what is printed by who looks for something wrong and cannot any more:
/// `kernel/dma/debug.c`, `lib/debugobjects.c`, `mm/kmemleak.c`.
const SIGNS: &[&str] = &[
    "WARNING:",
    "BUG:",
    "kernel BUG at",
    "Oops:",
    "unable to handle",
    "Call Trace:",
    "general protection fault",
    "stack segment:",
    "divide error:",
    "invalid opcode:",
    "Kernel panic",
    "possible circular locking dependency",
    "possible recursive locking",
    "inconsistent lock state",
    "INFO: trying to register non-static key",
    "suspicious RCU usage",
    "KASAN:",
    "KFENCE:",
    "KCSAN:",
    "UBSAN:",
    "detected stall",
    "self-detected stall",
    "blocked for more than",
    "soft lockup",
    "hard LOCKUP",
    "refcount_t:",
    "scheduling while atomic",
    "sleeping function called from invalid context",
    "Out of memory:",
    "page allocation failure",
    "segfault at",
    "EXT4-fs error",
    "I/O error, dev",
    "Buffer I/O error",
    "JBD2: Error",
    "SUPERBLOCK corrupted",
    "Initramfs unpacking failed",
    "DMA-API: debugging out of memory",
    "dma-debug disabled",
    "ODEBUG disabled",
    "Kernel memory leak detector disabled",
];

/// Finds the lines that show that something is wrong, with their numbers from 1.
pub(crate) fn scan(log: &str) -> Vec<(usize, &str)> {
    (1..)
        .zip(log.lines())
        .filter(|(_, line)| SIGNS.iter().any(|sign| line.contains(sign)))
        .collect()
}

/// The findings as one reason for a failure; none for a healthy log.
pub(crate) fn complaint(whose: &str, log: &str) -> Option<String> {
    let found = scan(log);
    let (number, line) = found.first()?;
    Some(format!(
        "kernel log of {whose}, line {number}: {} ({} such lines)",
        line.trim(),
        found.len()
    ))
}

/// The end of a log, for a kernel that never came to its end.
pub(crate) fn last_lines(log: &str, count: usize) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of real reports, one or more of each kind.
    const SICK: &[&str] = &[
        "[    3.141592] WARNING: CPU: 1 PID: 97 at virt/kvm/kvm_main.c:1253 kvm_put_kvm+0x1f/0x2b0 [kvm]",
        "[    3.141592] WARNING: virt/kvm/kvm_main.c:1253 at kvm_put_kvm+0x1f/0x2b0, CPU#1: vmm/97",
        "[    1.700000] BUG: kernel NULL pointer dereference, address: 0000000000000008",
        "[    1.700000] BUG: unable to handle page fault for address: ffffa3d1c0f00000",
        "[    1.700001] Oops: Oops: 0000 [#1] SMP NOPTI",
        "[    1.700002] kernel BUG at mm/slub.c:448!",
        "[    1.700003] Oops: general protection fault, probably for non-canonical address 0xdead000000000122: 0000 [#1] SMP",
        "[    1.700004] Call Trace:",
        "[   11.000000] WARNING: possible circular locking dependency detected",
        "[   11.000000] WARNING: suspicious RCU usage",
        "[   11.000000] WARNING: inconsistent lock state",
        "[   12.000000] BUG: KASAN: slab-use-after-free in ioregion_exit+0x44/0x90 [ioregion]",
        "[   21.032001] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
        "[   21.032001] rcu: INFO: rcu_preempt self-detected stall on CPU",
        "[  245.760000] INFO: task shunt-vmm:97 blocked for more than 122 seconds.",
        "[   48.000000] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [shunt-vmm:97]",
        "[    2.000000] refcount_t: underflow; use-after-free.",
        "[    2.000000] BUG: scheduling while atomic: insmod/61/0x00000002",
        "[    0.900000] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
        "[    4.200000] EXT4-fs error (device vda): ext4_lookup:1787: inode #12: comm cat: deleted inode referenced: 14",
        "[    4.200000] I/O error, dev vda, sector 2048 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 2",
        "[    4.200000] UBSAN: array-index-out-of-bounds in drivers/ioregion/x.c:10:2",
        "[    5.000000] traps: shunt-blk[77] trap invalid opcode: ip:7f sp:7f error:0",
        "[    6.000000] BUG: MAX_LOCKDEP_KEYS too low!",
        "[    6.000000] DMA-API: debugging out of memory - disabling",
        "[    6.000000] DMA-API: cacheline tracking ENOMEM, dma-debug disabled",
        "[    6.000000] ODEBUG: Out of memory. ODEBUG disabled",
        "[    6.000000] kmemleak: Kernel memory leak detector disabled",
        "[    5.000000] shunt-blk[77]: segfault at 8 ip 00007f0 sp 00007f error 4",
    ];

    /// Lines of healthy boots that look a little like the above.
    const WELL: &[&str] = &[
        "[    0.000000] Linux version 7.3.4 (gcc (Debian 12.2.0-14) 12.2.0) #1 SMP PREEMPT",
        "[    0.010000] rcu: \tRCU restricting CPUs from NR_CPUS=2 to nr_cpu_ids=1.",
        "[    0.020000] Spectre V2 : WARN_ON would be in capitals too",
        "[    0.300000] ioregion: loading out-of-tree module taints kernel.",
        "[    0.400000] EXT4-fs (vda): mounted filesystem 5d0c7e4a-6f0e-4f0b-9d4e-73687500006c r/w with ordered data mode. Quota mode: disabled.",
        "[    0.500000] Warning: unable to open an initial console.",
        "[    0.600000] kvm_amd: Nested Virtualization enabled",
        "[    0.700000] reboot: Power down",
    ];

    #[test]
    fn every_kind_of_report_is_found() {
        for line in SICK {
            assert_eq!(scan(line), [(1, *line)], "missed");
        }
    }

    #[test]
    fn a_healthy_log_has_no_findings() {
        assert_eq!(scan(&WELL.join("\n")), []);
        assert_eq!(complaint("L1", &WELL.join("\n")), None);
    }

    #[test]
    fn a_complaint_names_place_and_number() {
        let log = format!("{}\n{}\n{}", WELL[0], SICK[2], SICK[7]);
        let complaint = complaint("L2", &log).unwrap();
        assert!(complaint.contains("line 2: "), "{complaint}");
        assert!(complaint.contains("2 such lines"), "{complaint}");
    }

    #[test]
    fn the_end_of_a_short_log_is_all_of_it() {
        assert_eq!(last_lines("a\nb\nc", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
        assert_eq!(last_lines("", 2), "");
    }
}

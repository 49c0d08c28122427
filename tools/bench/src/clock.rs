// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The clock that counts instructions.
//!
//! Under `-icount shift=0` QEMU's emulated time stamp counter is the number of instructions
//! executed since the machine started, of all processes, the kernel and its guests. It is read
//! without a system call and, unlike `clock_gettime`, without the kernel's calibration.

use std::arch::asm;
use std::arch::x86_64::_rdtsc;

use anyhow::{ensure, Result};

/// Turns of the loop whose instructions are known.
const TURNS: u64 = 10_000;

/// Instructions so far.
#[inline]
pub(crate) fn now() -> u64 {
    // SAFETY: every x86-64 processor has the instruction; Linux does not forbid it.
    unsafe { _rdtsc() }
}

/// Checks that a loop of known length takes exactly as many ticks as it has instructions.
///
/// # Errors
///
/// It does not: this is not a machine under `-icount shift=0`.
pub(crate) fn check() -> Result<()> {
    // An interrupt can only add to a sample, so the least of several is without.
    let least = |turns| (0..16).map(|_| ticks(turns)).min().unwrap_or(0);
    let difference = least(2 * TURNS).wrapping_sub(least(TURNS));
    ensure!(
        difference == 2 * TURNS,
        "{} instructions took {difference} ticks: the clock does not count instructions; run \
         under QEMU's -icount shift=0,sleep=off",
        2 * TURNS
    );
    Ok(())
}

/// Ticks of a loop of two instructions, and of reading the clock.
fn ticks(turns: u64) -> u64 {
    let start = now();
    // SAFETY: the loop changes nothing but a register that the compiler has set aside for it.
    unsafe {
        asm!(
            "2: dec {turns}",
            "jnz 2b",
            turns = inout(reg) turns => _,
            options(nomem, nostack)
        );
    }
    now() - start
}

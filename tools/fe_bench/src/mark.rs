// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Marks for the plugin that counts (`tools/tcg_counts`): instructions that do nothing else.

use std::arch::asm;

/// From here on it counts.
pub(crate) fn begin() {
    // SAFETY: It does nothing: `nopl 0x316e6853(%rax)`.
    unsafe { asm!(".byte 0x0f, 0x1f, 0x80, 'S', 'h', 'n', '1'") }
}

/// Up to here.
pub(crate) fn end() {
    // SAFETY: It does nothing: `nopl 0x326e6853(%rax)`.
    unsafe { asm!(".byte 0x0f, 0x1f, 0x80, 'S', 'h', 'n', '2'") }
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the programs that test kernel modules in L1 have in common.
#![forbid(unsafe_code)]

pub mod trace_buffer;
pub mod verdict;

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Rules for the registers of a region: what becomes of an access without the device.
//!
//! ```text
//! struct kvm_ioregion_rule ── Rule::parse ──► Rule ─┐
//!                                                   ├─ table::sort ──► sorted slice
//! access: offset, width, operation ── table::find ──┴──► Action
//! ```
//!
//! - [`rule`]: one rule, checked.
//! - [`table`]: all rules of a region, and which of them an access matches.
//!
//! The caller has the memory of the table and of the registers; there is no I/O here, no
//! allocation and no unsafe code.

#![cfg_attr(not(any(test, CONFIG_RUST)), no_std)]
#![forbid(unsafe_code)]

pub mod rule;
pub mod table;

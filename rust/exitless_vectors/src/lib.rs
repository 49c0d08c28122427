// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Exitless interrupts, the decisions: whose is a vector, may a vCPU run directly, and where do
//! interrupts belong when it stops.
//!
//! ```text
//! guest's vector ── ChosenVector ──► Plan: the vCPU's vectors, how its EOIs go ── limit of the IDT
//!                                      │
//! about to run ── Runs::enter ─────────┴─► ordinary | direct
//! left the guest ── Runs::exit ──► Verdict: the host's, pending, in service
//! ```
//!
//! In a direct run the CPU delivers interrupts through the guest's own IDT, cut off above the
//! guest's highest vector: the host's vectors are all above that, run into the limit, and so end
//! the run. A guest's interrupt has the same vector at the CPU as in the guest.
//!
//! - [`vectors`]: the vectors that a guest can have, and sets of them.
//! - [`plan`]: what a vCPU may do in a direct run.
//! - [`runs`]: the state between runs, and what an exit means.
//! - [`conduct`]: how long a guest that keeps interrupts off may run directly.
//! - [`refusal`]: why an interrupt is not delivered directly.
//! - [`uapi`]: the module's interface, mirror of `include/uapi/linux/exitless.h`.
//!
//! There is no I/O here, no allocation and no unsafe code.

#![cfg_attr(not(any(test, CONFIG_RUST)), no_std)]
#![forbid(unsafe_code)]

pub mod conduct;
pub mod plan;
pub mod refusal;
pub mod runs;
pub mod uapi;
pub mod vectors;

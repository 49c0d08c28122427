// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Load and latency of a network interface that reflects frames, in the manner of MoonGen's
//! `l2-load-latency`: frames go out at a constant rate, each with a number and the time; what comes
//! back says how many were lost, and how long the others took.
//!
//! ```text
//! load ──► frame ──► link ──► interface ──► guest: reflector ─┐
//! tally ◄── frame ◄── link ◄── interface ◄── guest ◄──────────┘
//! ```

pub mod frame;
pub mod link;
pub mod load;
pub mod precedence;
pub mod reflector;
pub mod tally;

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the lab (on L0) and the init of L1 agree on.
//!
//! The lab names a [`job`] on L1's kernel command line; L1's init runs it and
//! sends [`event`]s over the second serial port, which carries nothing else.
//! The guests that a job may boot are the rows of [`scenario`]; [`image`] judges
//! what they leave.
#![forbid(unsafe_code)]

pub mod digest;
pub mod event;
pub mod image;
pub mod job;
pub mod scenario;
pub mod series;

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the bench prints: a JSON object per line.

use serde::{Deserialize, Serialize};

use crate::plan::Driver;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// Where code of a driver's modules is now. There may be more of it elsewhere.
    Code {
        /// The driver.
        driver: Driver,
        /// Its first address.
        first: u64,
        /// The address behind it.
        end: u64,
    },
    /// A driver has done some work, which QEMU's plugin has counted.
    Work {
        /// The driver.
        driver: Driver,
        /// The name of the work.
        work: String,
        /// How often it was done.
        operations: u64,
    },
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The tests, a file for each theme.

use crate::suite::Test;

mod access;
mod api;
mod exits;
mod ioeventfd;
mod signals;
mod split;
mod string;

/// All themes, simplest first.
pub(crate) const THEMES: &[&[Test]] = &[
    exits::TESTS,
    api::TESTS,
    ioeventfd::TESTS,
    access::TESTS,
    split::TESTS,
    string::TESTS,
    signals::TESTS,
];

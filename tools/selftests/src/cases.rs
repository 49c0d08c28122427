// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The tests, a file for each theme.

use crate::suite::Test;

mod access;
mod api;
mod deassign;
mod exits;
mod failure;
mod ioeventfd;
mod kill;
mod module;
mod signals;
mod slots;
mod split;
mod stress;
mod string;
mod trust;
mod vcpus;

/// All themes, simplest first.
pub(crate) const THEMES: &[&[Test]] = &[
    exits::TESTS,
    api::TESTS,
    ioeventfd::TESTS,
    access::TESTS,
    split::TESTS,
    string::TESTS,
    signals::TESTS,
    slots::TESTS,
    deassign::TESTS,
    failure::TESTS,
    kill::TESTS,
    vcpus::TESTS,
    trust::TESTS,
    stress::TESTS,
    module::TESTS,
];

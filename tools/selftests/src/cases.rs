// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The tests, a file for each theme.

use crate::suite::Test;

mod access;
mod api;
mod breach;
mod counters;
mod crossing;
mod deassign;
mod exits;
mod failure;
mod immediate_exit;
mod ioeventfd;
mod kill;
mod module;
mod posted;
mod ring;
mod room;
mod rules;
mod signals;
mod slots;
mod split;
mod stress;
mod string;
mod timeout;
mod trace;
mod trust;
mod vcpus;
mod vectors;
mod vfio_user;

/// All themes, simplest first.
pub(crate) const THEMES: &[&[Test]] = &[
    exits::TESTS,
    api::TESTS,
    room::TESTS,
    ioeventfd::TESTS,
    access::TESTS,
    posted::TESTS,
    split::TESTS,
    crossing::TESTS,
    string::TESTS,
    signals::TESTS,
    immediate_exit::TESTS,
    slots::TESTS,
    deassign::TESTS,
    failure::TESTS,
    breach::TESTS,
    kill::TESTS,
    vcpus::TESTS,
    ring::api::TESTS,
    ring::memory::TESTS,
    ring::wait::TESTS,
    ring::room::TESTS,
    ring::sample::TESTS,
    ring::vcpus::TESTS,
    ring::hostile::TESTS,
    counters::counts::TESTS,
    counters::file::TESTS,
    trace::TESTS,
    rules::argument::TESTS,
    rules::api::TESTS,
    rules::plain::TESTS,
    rules::w1c::TESTS,
    rules::doorbell::TESTS,
    rules::pieces::TESTS,
    rules::change::TESTS,
    rules::memory::TESTS,
    rules::race::TESTS,
    rules::shadow::TESTS,
    timeout::TESTS,
    timeout::late::TESTS,
    timeout::room::TESTS,
    timeout::others::TESTS,
    vfio_user::TESTS,
    trust::TESTS,
    vectors::TESTS,
    stress::TESTS,
    module::TESTS,
];

// SPDX-License-Identifier: GPL-2.0-only

//! What is told of an access: to the region's counters, and to tracepoints.

use crate::{
    channel::Channel,
    region::Region, //
};
use ioregion_dispatch::{
    counters::{
        How,
        Kind, //
    },
    regions::Ranged,
    spin::Spin, //
};
use ioregion_wire::frame::{
    Command,
    Operation, //
};
use kernel::prelude::*;
use kvm_ext::{
    trace::{
        self,
        AccessEvent, //
    },
    Io,
    Moment, //
};

/// How long a vCPU spins, and how long it has waited for the access that it makes. The clock is
/// read only for one that has to wait.
#[derive(Default)]
pub(crate) struct Patience {
    pub(crate) spin: Spin,
    began: Option<Moment>,
    slept: bool,
}

impl Patience {
    /// The vCPU is about to spin, for so many nanoseconds.
    pub(crate) fn spins(&mut self) -> u64 {
        let ns = self.spin.ns();
        if ns > 0 {
            self.began.get_or_insert_with(Moment::now);
        }
        ns
    }

    /// The vCPU is about to sleep.
    pub(crate) fn sleeps(&mut self) {
        self.began.get_or_insert_with(Moment::now);
        self.slept = true;
    }

    /// The access is over, or another one begins: whether the vCPU spun or slept, and for how
    /// many nanoseconds, if it waited.
    #[inline(always)]
    pub(crate) fn end(&mut self) -> Option<(How, u64)> {
        let began = self.began?;
        let how = match self.slept {
            true => How::Slept,
            false => How::Spun,
        };
        (self.began, self.slept) = (None, false);
        Some((how, began.elapsed_ns()))
    }
}

/// What is known of an access on its way.
pub(crate) struct Course {
    kind: Kind,
    /// No piece of it has gone to the device.
    pub(crate) is_ruled: bool,
}

impl Course {
    #[inline(always)]
    pub(crate) fn new(io: &Io<'_>) -> Self {
        let kind = match io.is_write() {
            true => Kind::Write,
            false => Kind::Read,
        };
        Self {
            kind,
            is_ruled: true,
        }
    }

    /// That of an access that has gone to the device, which is to answer.
    #[inline(always)]
    pub(crate) fn sent(region: &Region, io: &Io<'_>) -> Self {
        let course = Self {
            is_ruled: false,
            ..Self::new(io)
        };
        course.dispatched(region, io);
        course
    }

    /// The next piece goes to the device.
    #[inline(always)]
    pub(crate) fn goes_to_device(&mut self, command: &Command) {
        self.is_ruled = false;
        if command.operation != Operation::Read && !command.expects_reply {
            self.kind = Kind::Posted;
        }
    }

    /// Tells that the access begins.
    #[inline(always)]
    pub(crate) fn dispatched(&self, region: &Region, io: &Io<'_>) {
        trace::dispatch(|| dispatch_event(region, io, self.kind, self.is_ruled));
    }

    /// Tells that the access is complete.
    #[inline(always)]
    pub(crate) fn completed(&self, region: &Region, io: &Io<'_>, patience: &mut Patience) {
        match (patience.end(), self.is_ruled) {
            (Some((how, ns)), _) => waited(region, io, self.kind, how, ns),
            (None, true) => ended(region, io, self.kind, How::Ruled),
            (None, false) => ended(region, io, self.kind, How::AtOnce),
        }
    }

    /// Tells that the device has not completed the access, and will not.
    #[cold]
    pub(crate) fn failed(
        &self,
        region: &Region,
        io: &Io<'_>,
        patience: &mut Patience,
        error: Error,
    ) {
        let how = match error {
            ETIMEDOUT => How::TimedOut,
            _ => How::Failed,
        };
        let ns = patience.end().map_or(0, |(_, ns)| ns);
        region.counters().count(self.kind, how);
        trace::complete(|| complete_event(region, io, self.kind, how, ns, Some(error)));
    }
}

/// A rule has handled an access.
#[inline(always)]
pub(crate) fn ruled_at_once(region: &Region, io: &Io<'_>) {
    let course = Course::new(io);
    course.dispatched(region, io);
    ended(region, io, course.kind, How::Ruled);
}

/// The device's ring has taken a posted write.
#[inline(always)]
pub(crate) fn posted_at_once(region: &Region, io: &Io<'_>) {
    let kind = Kind::Posted;
    trace::dispatch(|| dispatch_event(region, io, kind, false));
    ended(region, io, kind, How::AtOnce);
}

#[inline(always)]
fn ended(region: &Region, io: &Io<'_>, kind: Kind, how: How) {
    region.counters().count(kind, how);
    trace::complete(|| complete_event(region, io, kind, how, 0, None));
}

#[inline(always)]
fn waited(region: &Region, io: &Io<'_>, kind: Kind, how: How, ns: u64) {
    region.counters().count(kind, how);
    region.counters().count_wait(ns);
    trace::complete(|| complete_event(region, io, kind, how, ns, None));
}

#[cold]
fn dispatch_event(region: &Region, io: &Io<'_>, kind: Kind, is_ruled: bool) -> AccessEvent {
    let by = match (is_ruled, region.channel()) {
        (true, _) => 0,
        (false, Channel::Ring(_)) => 1,
        (false, Channel::Frames { .. }) => 2,
    };
    AccessEvent {
        by,
        data: first_element(io, io.is_write()),
        ..event(region, io, kind)
    }
}

#[cold]
fn complete_event(
    region: &Region,
    io: &Io<'_>,
    kind: Kind,
    how: How,
    wait_ns: u64,
    error: Option<Error>,
) -> AccessEvent {
    AccessEvent {
        data: first_element(io, io.is_write() || error.is_none()),
        wait_ns,
        error: error.map_or(0, |error| -error.to_errno()),
        how: how as u8,
        ..event(region, io, kind)
    }
}

fn event(region: &Region, io: &Io<'_>, kind: Kind) -> AccessEvent {
    AccessEvent {
        region: region.range().start(),
        addr: io.addr(),
        data: 0,
        wait_ns: 0,
        vcpu: io.vcpu_index() as u32,
        size: io.total_size() as u32,
        error: 0,
        is_pio: io.is_pio(),
        kind: kind as u8,
        by: 0,
        how: 0,
    }
}

/// The first element, if there is a value in it. It may have any size up to 8 bytes.
fn first_element(io: &Io<'_>, is_there: bool) -> u64 {
    let bytes = match is_there {
        true => io.element_size().min(8),
        false => 0,
    };
    (0..bytes).fold(0, |value, at| value | io.load(at, 1) << (8 * at))
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The parts of an attack, each a test.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fastrand::Rng;
use module_tests::verdict::Skip;
use shunt::channel::Transport;

use crate::attacker::Attacker;
use crate::leaks;
use crate::scene::{self, Way};
use crate::stopped;
use crate::tally::Tally;

/// What the parts are given.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What all choices come from.
    pub(crate) seed: u64,
    /// How long a part goes on beginning rounds.
    pub(crate) time: Duration,
    /// File of ioregion.ko.
    pub(crate) module: Option<PathBuf>,
}

/// One part.
pub(crate) struct Part {
    /// Unique.
    pub(crate) name: &'static str,
    /// Succeeds with what there is to say, fails with the reason, or fails with [`Skip`].
    pub(crate) run: fn(&Settings) -> Result<String>,
}

/// All of them, in the order in which they run: the last ones look at what the others left.
pub(crate) const PARTS: &[Part] = &[
    Part {
        name: "device.ring",
        run: |settings| device(settings, &[Way::Ring]),
    },
    Part {
        name: "device.frames",
        run: |settings| device(settings, &FRAMES),
    },
    Part {
        name: "device.stopped_in_a_copy",
        run: stopped,
    },
    Part {
        name: "vmm.calls",
        run: vmm,
    },
    Part {
        name: "after.no_areas",
        run: |_| leaks::expect_no_areas().map(|()| String::new()),
    },
    Part {
        name: "after.module_reloads",
        run: reload,
    },
];

const FRAMES: [Way; 3] = [
    Way::Frames(Transport::Seqpacket),
    Way::Frames(Transport::Stream),
    Way::Frames(Transport::Pipe),
];

/// Rounds, one at least, until the time is over; what they add up to.
fn rounds(
    settings: &Settings,
    mut round: impl FnMut(usize, &mut Rng) -> Result<Tally>,
) -> Result<(usize, Tally)> {
    let mut rng = Rng::with_seed(settings.seed);
    let end = Instant::now() + settings.time;
    let (mut count, mut sum) = (0, Tally::default());
    loop {
        let tally = round(count, &mut rng).with_context(|| format!("round {count}"))?;
        leaks::wait_until_unused().with_context(|| format!("after round {count}"))?;
        sum.add(&tally);
        count += 1;
        if Instant::now() >= end {
            return Ok((count, sum));
        }
    }
}

fn device(settings: &Settings, ways: &[Way]) -> Result<String> {
    let (count, tally) = rounds(settings, |count, rng| {
        scene::round(ways[count % ways.len()], rng)
    })?;
    Ok(format!("{count} rounds; failures:{tally}"))
}

/// Not over pipes: `Documentation/failures.md`, limits.
fn stopped(_: &Settings) -> Result<String> {
    for transport in [Transport::Seqpacket, Transport::Stream] {
        stopped::round(transport).with_context(|| format!("{transport:?}"))?;
    }
    leaks::wait_until_unused().map(|()| String::new())
}

fn vmm(settings: &Settings) -> Result<String> {
    let (count, _) = rounds(settings, |_, rng| {
        Attacker::vmm(rng)?.end(rng)?;
        Ok(Tally::default())
    })?;
    Ok(format!("{count} rounds"))
}

fn reload(settings: &Settings) -> Result<String> {
    let Some(module) = &settings.module else {
        return Err(Skip("no --module".into()).into());
    };
    leaks::wait_until_unused()?;
    leaks::reload(module)?;
    Ok(String::new())
}

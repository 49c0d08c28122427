// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the parts of a dispatch cost without KVM.

use std::hint::black_box;

use anyhow::{Context, Result};
use ioregion_wire::frame::Width;
use shunt::channel::{self, Transport};
use shunt::{Command, Operation};

use crate::companion::Companion;
use crate::sample::{Figures, Sample, BATCH, BATCHES};
use crate::{clock, switches};

/// The shortest system call.
pub(crate) fn getppid() -> Result<Figures> {
    measure(None, &mut || {
        black_box(rustix::process::getppid());
        Ok(())
    })
}

/// To another process that yields, too, and back: two switches.
pub(crate) fn yield_pair() -> Result<Figures> {
    let other = Companion::yielding()?;
    measure(Some(other.pid()), &mut || {
        rustix::thread::sched_yield();
        Ok(())
    })
}

/// A command to a device process, and its reply.
pub(crate) fn round_trip(transport: Transport) -> Result<Figures> {
    let (own, device_end) = channel::pair(transport).context("channel")?;
    let device = Companion::device(&device_end)?;
    drop(device_end);
    let command = Command {
        operation: Operation::Read,
        width: Width::Long,
        expects_reply: true,
        user_data: 0,
        offset: 0,
    };
    measure(Some(device.pid()), &mut || {
        own.exchange(&command).context("device process")?;
        Ok(())
    })
}

/// What `call` costs beyond a call that does nothing.
fn measure(companion: Option<u32>, call: &mut dyn FnMut() -> Result<()>) -> Result<Figures> {
    let full = sample(companion, call)?;
    let empty = sample(companion, &mut || Ok(()))?;
    Ok(full.beyond(&empty))
}

fn sample(companion: Option<u32>, call: &mut dyn FnMut() -> Result<()>) -> Result<Sample> {
    let before = switches::total(companion)?;
    let mut stamps = Vec::with_capacity(BATCHES as usize + 2);
    stamps.push(clock::now());
    for _ in 0..=BATCHES {
        for _ in 0..BATCH {
            black_box(&mut *call)()?;
        }
        stamps.push(clock::now());
    }
    Ok(Sample {
        stamps,
        switches: switches::total(companion)? - before,
        exits: 0,
    })
}

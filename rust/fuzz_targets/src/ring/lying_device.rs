// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The kernel's end, while the device writes whatever it likes.

use super::{
    areas::{
        Area,
        MAX_SLOTS, //
    },
    layout,
    see_post, //
};
use crate::{
    input::Input,
    outcome::{
        hold,
        Broken,
        Digest, //
    },
};
use ioregion_ring::{
    completion,
    layout::{
        Layout,
        CONSUMED_AT,
        WAKE_ME_AT, //
    },
    producer::{
        Producer,
        Refused, //
    },
    slot::Access, //
};

/// The kernel's end and what it may believe.
struct Kernel {
    layout: Layout,
    own: Area,
    producer: Producer,
    filled: u64,
    consumed: u64,
    /// Stamp of each slot: the last position that was put there, and one.
    stamps: [u64; MAX_SLOTS],
}

/// Posts and looks for answers.
///
/// # Errors
///
/// The promise that does not hold.
pub fn run(input: &mut Input<'_>, seen: &mut Digest) -> Result<(), Broken> {
    let layout = layout(input)?;
    let device = Area::of_device(layout);
    let mut kernel = Kernel::new(layout);
    while !input.is_empty() {
        match input.below(6) {
            0 => device.set(CONSUMED_AT, input.edgy()),
            1 => device.set(
                CONSUMED_AT,
                kernel.consumed.wrapping_add(u64::from(input.u8() % 10)),
            ),
            2 => device.scribble(input.u8().into(), input.edgy()),
            3 => kernel.look_for_answer(&device, input, seen)?,
            _ => kernel.post(&device, input, seen)?,
        }
        device.check()?;
        kernel.own.check()?;
    }
    Ok(())
}

impl Kernel {
    fn new(layout: Layout) -> Self {
        let own = Area::of_kernel(layout);
        Self {
            layout,
            producer: Producer::new(layout, &own.own()),
            own,
            filled: 0,
            consumed: 0,
            stamps: [0; MAX_SLOTS],
        }
    }

    fn post(
        &mut self,
        device: &Area,
        input: &mut Input<'_>,
        seen: &mut Digest,
    ) -> Result<(), Broken> {
        let access = Access {
            command: input.command(),
            vcpu: u32::from(input.u8()),
            request: input.edgy(),
        };
        let wanted = self.believe(device.get(CONSUMED_AT));
        let posted = self
            .producer
            .post(&self.own.own(), &device.others(), &access);
        hold(
            posted == wanted,
            "a device has consumed no less than before and no more than there was",
        )?;
        see_post(posted, seen);
        if posted.is_ok() {
            let slot = self.filled as usize & (self.layout.slots() - 1);
            self.filled += 1;
            self.stamps[slot] = self.filled;
        }
        let must_wake = Producer::must_wake(&self.own.own(), &device.others());
        hold(
            must_wake == (device.get(WAKE_ME_AT) != 0),
            "a device is woken if it asks for it",
        )?;
        self.slots_are_as_posted()
    }

    /// What becomes of a post, when a full ring makes the kernel look at what the device claims.
    fn believe(&mut self, claimed: u64) -> Result<(), Refused> {
        let slots = self.layout.slots() as u64;
        if self.filled - self.consumed == slots {
            if claimed < self.consumed || claimed > self.filled {
                return Err(Refused::Broken {
                    claimed,
                    before: self.consumed,
                    filled: self.filled,
                });
            }
            self.consumed = claimed;
        }
        match self.filled - self.consumed == slots {
            true => Err(Refused::Full),
            false => Ok(()),
        }
    }

    fn slots_are_as_posted(&self) -> Result<(), Broken> {
        for (position, stamp) in (0..).zip(&self.stamps[..self.layout.slots()]) {
            let kept = self.own.get(self.layout.slot(position));
            hold(
                kept == *stamp,
                "a slot keeps its access until that is consumed",
            )?;
        }
        Ok(())
    }

    fn look_for_answer(
        &self,
        device: &Area,
        input: &mut Input<'_>,
        seen: &mut Digest,
    ) -> Result<(), Broken> {
        let (vcpu, request) = (input.below(self.layout.vcpus()), input.edgy());
        let line = Layout::completion(vcpu);
        let answer = completion::answer(&device.others(), vcpu, request);
        let wanted = (device.get(line) == request).then_some(device.get(line + 8));
        hold(answer == wanted, "an answer has the number of its request")?;
        seen.see_option(answer);
        Ok(())
    }
}

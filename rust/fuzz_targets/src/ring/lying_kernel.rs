// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The device's end, on memory that holds anything: a device process may be given any file.

use super::{
    areas::Area,
    layout,
    see_access, //
};
use crate::{
    input::Input,
    outcome::{
        hold,
        Broken,
        Digest, //
    },
    wire::see_bad,
};
use ioregion_ring::{
    completion,
    consumer::{
        self,
        BadChannel,
        Consumer, //
    },
    layout::{
        Layout,
        CONSUMED_AT,
        MAGIC,
        MAGIC_AT,
        SLOTS_AT,
        VCPUS_AT,
        WAKE_ME_AT, //
    },
    slot::Access,
};
use ioregion_wire::frame::{
    BadCommand,
    Command,
    Operation,
    Width, //
};

/// The device's end.
struct Device {
    layout: Layout,
    own: Area,
    consumer: Consumer,
    consumed: u64,
}

/// Takes whatever looks like an access.
///
/// # Errors
///
/// The promise that does not hold.
pub fn run(input: &mut Input<'_>, seen: &mut Digest) -> Result<(), Broken> {
    let layout = layout(input)?;
    let kernel = Area::of_kernel(layout);
    let mut device = Device::new(layout, input.edgy());
    while !input.is_empty() {
        match input.below(6) {
            0 => is_a_channel(&kernel, input, seen)?,
            1 => kernel.scribble(input.u8().into(), input.edgy()),
            2 => device.complete(&kernel, input, seen)?,
            _ => {
                device.be_told_of_an_access(&kernel, input);
                device.take(&kernel, seen)?;
            }
        }
        device.own.check()?;
        kernel.check()?;
    }
    Ok(())
}

fn is_a_channel(kernel: &Area, input: &mut Input<'_>, seen: &mut Digest) -> Result<(), Broken> {
    let has_magic = input.u8() & 1 != 0;
    let magic = if has_magic { MAGIC } else { input.edgy() };
    let (slots, vcpus) = (input.edgy(), input.edgy());
    for (at, value) in [(MAGIC_AT, magic), (SLOTS_AT, slots), (VCPUS_AT, vcpus)] {
        kernel.set(at, value);
    }
    let fits = slots.count_ones() == 1 && slots <= 4096 && vcpus != 0 && vcpus <= 1024;
    match consumer::layout(&kernel.others()) {
        Ok(layout) => {
            let repeats = layout.slots() as u64 == slots && layout.vcpus() as u64 == vcpus;
            hold(
                magic == MAGIC && fits && repeats,
                "a channel has magic and dimensions",
            )?;
            seen.see(layout.kernel_area() as u64);
        }
        Err(BadChannel::Magic(other)) => hold(other == magic && magic != MAGIC, "magic is told")?,
        Err(BadChannel::Layout(_)) => hold(!fits, "dimensions of a channel are no error")?,
    }
    Ok(())
}

impl Device {
    fn new(layout: Layout, consumed: u64) -> Self {
        let own = Area::of_device(layout);
        own.set(CONSUMED_AT, consumed);
        Self {
            layout,
            consumer: Consumer::new(layout, &own.others()),
            own,
            consumed,
        }
    }

    /// Any words in the next slot, which most often has a stamp and a kind that may be right.
    fn be_told_of_an_access(&self, kernel: &Area, input: &mut Input<'_>) {
        let (hints, slot) = (input.u8(), self.layout.slot(self.consumed));
        let stamp = match hints & 3 {
            0 => input.edgy(),
            _ => self.consumed.wrapping_add(1),
        };
        let kind = match hints & 12 {
            0 => input.u64(),
            _ => {
                u64::from(input.u8() & 1)
                    | u64::from(input.u8() & 7) << 8
                    | u64::from(input.u8()) << 16
            }
        };
        let words = [
            stamp,
            kind,
            input.edgy(),
            input.edgy(),
            input.edgy(),
            input.u64(),
        ];
        for (at, word) in (slot..).step_by(8).zip(words) {
            kernel.set(at, word);
        }
    }

    fn take(&mut self, kernel: &Area, seen: &mut Digest) -> Result<(), Broken> {
        let slot = self.layout.slot(self.consumed);
        let is_there = kernel.get(slot) == self.consumed.wrapping_add(1);
        let is_ready = self.consumer.is_ready(&kernel.others());
        hold(is_ready == is_there, "an access is there with its stamp")?;
        let is_armed = self.consumer.arm(&self.own.own(), &kernel.others());
        hold(is_armed != is_there, "a device does not sleep on an access")?;
        let flag = self.own.get(WAKE_ME_AT);
        hold(
            flag == u64::from(is_armed),
            "a device that sleeps is to be woken",
        )?;
        let taken = self.consumer.next(&self.own.own(), &kernel.others());
        let wanted = is_there.then(|| parse_naively(kernel, slot));
        hold(taken == wanted, "an access is the words of its slot")?;
        self.consumed = self.consumed.wrapping_add(is_there.into());
        hold(
            self.own.get(CONSUMED_AT) == self.consumed,
            "a device counts what it took",
        )?;
        match taken {
            Some(Ok(access)) => see_access(&access, seen),
            Some(Err(bad)) => see_bad(bad, seen),
            None => seen.see(0),
        }
        Ok(())
    }

    fn complete(
        &self,
        kernel: &Area,
        input: &mut Input<'_>,
        seen: &mut Digest,
    ) -> Result<(), Broken> {
        let (vcpu, request, data) = (input.below(self.layout.vcpus()), input.edgy(), input.edgy());
        let (own, others) = (self.own.own(), kernel.others());
        let must_wake = completion::complete(&own, &others, vcpu, request, data);
        // The flag is as far into the one area as the line is into the other.
        let line = Layout::completion(vcpu);
        hold(
            must_wake == (kernel.get(line) != 0),
            "a vCPU is woken if it sleeps",
        )?;
        let stored = (self.own.get(line), self.own.get(line + 8));
        hold(stored == (request, data), "an answer is in its line")?;
        seen.see(must_wake.into());
        Ok(())
    }
}

/// As `Documentation/channel.md` describes a slot, bit by bit.
fn parse_naively(kernel: &Area, slot: usize) -> Result<Access, BadCommand> {
    let word = |number: usize| kernel.get(slot + number * 8);
    let kind = word(1).to_le_bytes();
    let (width, mask) = match kind[1] {
        0 => (Width::Byte, 0xff),
        1 => (Width::Word, 0xffff),
        2 => (Width::Long, 0xffff_ffff),
        3 => (Width::Quad, u64::MAX),
        other => return Err(BadCommand::SizeExponent(other)),
    };
    let expects_reply = kind[2] % 2 == 1;
    let operation = match (kind[0], expects_reply) {
        (0, true) => Operation::Read,
        (0, false) => return Err(BadCommand::ReadWithoutReply),
        (1, _) => Operation::Write(word(5) & mask),
        (other, _) => return Err(BadCommand::Operation(other)),
    };
    Ok(Access {
        command: Command {
            operation,
            width,
            expects_reply,
            user_data: word(3),
            offset: word(4),
        },
        vcpu: u32::from_le_bytes([kind[4], kind[5], kind[6], kind[7]]),
        request: word(2),
    })
}

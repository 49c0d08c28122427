// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Both ends of a channel, honest, beside a queue with a bound, under any order of posts,
//! takes, answers, sleeps, wakes and new device processes.

use super::{
    areas::{
        Area,
        MAX_SLOTS,
        MAX_VCPUS, //
    },
    layout,
    see_access,
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
    consumer::{
        self,
        Consumer, //
    },
    layout::Layout,
    producer::{
        Producer,
        Refused, //
    },
    slot::Access, //
};

/// What is true of a vCPU.
#[derive(Clone, Copy, Default)]
struct Vcpu {
    /// Its last request.
    request: u64,
    sleeps: bool,
    /// Request and data of the last answer in its line.
    answer: (u64, u64),
}

struct Channel {
    layout: Layout,
    kernel: Area,
    device: Area,
    producer: Producer,
    consumer: Consumer,
    queue: [Option<Access>; MAX_SLOTS],
    posted: usize,
    taken: usize,
    vcpus: [Vcpu; MAX_VCPUS],
    device_is_armed: bool,
    room_is_wanted: bool,
}

/// Plays both ends.
///
/// # Errors
///
/// The promise that does not hold.
pub fn run(input: &mut Input<'_>, seen: &mut Digest) -> Result<(), Broken> {
    let mut channel = Channel::new(layout(input)?)?;
    while !input.is_empty() {
        let (kind, vcpu) = (input.below(10), input.below(channel.layout.vcpus()));
        match kind {
            0..=2 => channel.post(vcpu, input, seen)?,
            3 | 4 => channel.take(seen)?,
            5 => channel.complete(vcpu, input, seen)?,
            6 => channel.toggle_sleep(vcpu),
            7 => channel.arm_or_disarm()?,
            8 => channel.ask_for_room(input.u8() & 1 != 0)?,
            _ => channel.replace_device()?,
        }
        channel.check(seen)?;
    }
    Ok(())
}

impl Channel {
    fn new(layout: Layout) -> Result<Self, Broken> {
        let (kernel, device) = (Area::of_kernel(layout), Area::of_device(layout));
        let producer = Producer::new(layout, &kernel.own());
        let learnt = consumer::layout(&kernel.others());
        hold(learnt == Ok(layout), "the device learns the layout")?;
        let channel = Self {
            layout,
            producer,
            consumer: Consumer::new(layout, &device.others()),
            kernel,
            device,
            queue: [None; MAX_SLOTS],
            posted: 0,
            taken: 0,
            vcpus: [Vcpu::default(); MAX_VCPUS],
            device_is_armed: false,
            room_is_wanted: false,
        };
        Ok(channel)
    }

    fn post(
        &mut self,
        vcpu: usize,
        input: &mut Input<'_>,
        seen: &mut Digest,
    ) -> Result<(), Broken> {
        let command = input.command();
        let request = match command.expects_reply {
            true => self.vcpus[vcpu].request + 1,
            false => 0,
        };
        let access = Access {
            command,
            vcpu: vcpu as u32,
            request,
        };
        let posted = self
            .producer
            .post(&self.kernel.own(), &self.device.others(), &access);
        let wanted = match self.posted - self.taken == self.layout.slots() {
            true => Err(Refused::Full),
            false => Ok(()),
        };
        hold(posted == wanted, "a post is refused if the ring is full")?;
        see_post(posted, seen);
        if posted.is_ok() {
            self.queue[self.posted % MAX_SLOTS] = Some(access);
            self.posted += 1;
            self.vcpus[vcpu].request = self.vcpus[vcpu].request.max(request);
        }
        let must_wake = Producer::must_wake(&self.kernel.own(), &self.device.others());
        hold(
            must_wake == self.device_is_armed,
            "a device is woken if it asked for it",
        )
    }

    fn take(&mut self, seen: &mut Digest) -> Result<(), Broken> {
        let taken = self
            .consumer
            .next(&self.device.own(), &self.kernel.others());
        let wanted = match self.posted == self.taken {
            true => None,
            false => self.queue[self.taken % MAX_SLOTS].map(Ok),
        };
        hold(taken == wanted, "accesses come out as they went in")?;
        if let Some(Ok(access)) = taken {
            self.taken += 1;
            see_access(&access, seen);
        }
        Ok(())
    }

    /// The device answers the last request of a vCPU, or an older or a later one.
    fn complete(
        &mut self,
        vcpu: usize,
        input: &mut Input<'_>,
        seen: &mut Digest,
    ) -> Result<(), Broken> {
        let state = &mut self.vcpus[vcpu];
        let request = match input.below(4) {
            0 => input.edgy(),
            1 => state.request.wrapping_sub(1),
            _ => state.request,
        };
        let data = input.edgy();
        let (own, kernel) = (self.device.own(), self.kernel.others());
        let must_wake = completion::complete(&own, &kernel, vcpu, request, data);
        hold(must_wake == state.sleeps, "a vCPU is woken if it sleeps")?;
        state.answer = (request, data);
        seen.see(must_wake.into());
        Ok(())
    }

    fn toggle_sleep(&mut self, vcpu: usize) {
        let (state, own) = (&mut self.vcpus[vcpu], self.kernel.own());
        state.sleeps = !state.sleeps;
        match state.sleeps {
            true => completion::fall_asleep(&own, vcpu),
            false => completion::wake_up(&own, vcpu),
        }
    }

    fn arm_or_disarm(&mut self) -> Result<(), Broken> {
        let (own, kernel) = (self.device.own(), self.kernel.others());
        if self.device_is_armed {
            Consumer::disarm(&own);
            self.device_is_armed = false;
            return Ok(());
        }
        self.device_is_armed = self.consumer.arm(&own, &kernel);
        let is_empty = self.posted == self.taken;
        hold(
            self.device_is_armed == is_empty,
            "a device sleeps on an empty ring only",
        )
    }

    fn ask_for_room(&mut self, is_wanted: bool) -> Result<(), Broken> {
        let own = self.kernel.own();
        if is_wanted {
            Producer::want_room(&own);
        } else {
            let was_wanted = Producer::stop_wanting_room(&own);
            hold(
                was_wanted == self.room_is_wanted,
                "who waits for room is told",
            )?;
        }
        self.room_is_wanted = is_wanted;
        Ok(())
    }

    /// A fresh device process goes on where the last one was.
    fn replace_device(&mut self) -> Result<(), Broken> {
        let learnt = consumer::layout(&self.kernel.others());
        hold(learnt == Ok(self.layout), "the layout stays")?;
        self.consumer = Consumer::new(self.layout, &self.device.others());
        Ok(())
    }

    /// What holds after every step.
    fn check(&self, seen: &mut Digest) -> Result<(), Broken> {
        let is_ready = self.consumer.is_ready(&self.kernel.others());
        hold(
            is_ready == (self.posted != self.taken),
            "a device sees whether there is an access",
        )?;
        let is_wanted = Consumer::is_room_wanted(&self.device.own(), &self.kernel.others());
        hold(
            is_wanted == self.room_is_wanted,
            "a device sees whether room is wanted",
        )?;
        for (vcpu, state) in self.vcpus.iter().enumerate().take(self.layout.vcpus()) {
            let answer = completion::answer(&self.device.others(), vcpu, state.request);
            let (request, data) = state.answer;
            let wanted = (request == state.request).then_some(data);
            hold(
                answer == wanted,
                "an answer is there if its request was completed",
            )?;
            seen.see_option(answer);
        }
        self.kernel.check()?;
        self.device.check()
    }
}

// SPDX-License-Identifier: GPL-2.0-only

//! A channel in shared memory.
//!
//! An access is put into the ring with a spin lock held; what follows needs no lock, as each
//! vCPU has a completion line of its own. The device is not trusted: `ioregion_ring` checks how
//! far it claims to be, a completion is read once, and a wrong one is never waited for.

use super::{
    stopped,
    Caller,
    Stop,
    Ticket, //
};
use crate::{
    observation::Patience,
    region::Region, //
};
use ioregion_ring::{
    completion,
    layout::Layout,
    producer::{
        Producer,
        Refused, //
    },
    slot::Access, //
};
use ioregion_wire::{
    frame::{
        Command,
        Reply, //
    },
    uapi::KvmIoregionChannel,
};
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        Arc,
        SpinLock, //
    },
};
use kvm_ext::{
    Area,
    SharedRing, //
};

/// A ring, and the vCPUs' requests in it.
#[pin_data]
pub(crate) struct RingChannel {
    shared: SharedRing,
    #[pin]
    state: SpinLock<State>,
}

struct State {
    producer: Producer,
    /// The last request of each vCPU.
    requests: KVec<u64>,
    /// The device does not keep to the protocol; nothing is sent or received any more.
    broken: bool,
}

/// A command that is in the ring.
pub(crate) struct Posted {
    /// 0 if no answer is to come.
    request: u64,
    /// The changes that were known when it was put there.
    seen: u32,
    device_slept: bool,
}

impl Posted {
    /// For the answer, if one is to come.
    #[inline]
    pub(crate) fn ticket(&self) -> Option<Ticket> {
        let Self { request, seen, .. } = *self;
        (request != 0).then_some(Ticket::Completion { request, seen })
    }
}

/// Why a command is not in the ring.
pub(crate) enum NotPosted {
    Full,
    Failed(Error),
}

impl RingChannel {
    /// # Errors
    ///
    /// `EINVAL`: a channel cannot be so. `ENOMEM`.
    pub(crate) fn new(arg: &KvmIoregionChannel) -> Result<Arc<Self>> {
        if arg.flags != 0 || arg.pad != 0 {
            return Err(EINVAL);
        }
        let layout = Layout::new(arg.slots.into(), arg.vcpus.into()).map_err(|_| EINVAL)?;
        let shared = SharedRing::new(layout)?;
        let producer = Producer::new(layout, &shared.kernel_area());
        let requests = KVec::from_elem(0, layout.vcpus(), GFP_KERNEL_ACCOUNT)?;
        let channel = pin_init!(Self {
            shared,
            state <- new_spinlock!(State {
                producer,
                requests,
                broken: false,
            }),
        });
        Arc::pin_init(channel, GFP_KERNEL_ACCOUNT)
    }

    pub(crate) fn shared(&self) -> &SharedRing {
        &self.shared
    }

    pub(super) fn change(&self, change: impl FnOnce()) {
        {
            let _state = self.state.lock();
            change();
        }
        self.shared.announce();
    }

    pub(super) fn send(
        &self,
        region: &Region,
        command: &Command,
        caller: &mut Caller<'_>,
    ) -> Result<Option<Ticket>, Stop> {
        match self.post(region, command, caller.index) {
            Ok(posted) => Ok(posted.ticket()),
            Err(NotPosted::Full) => self.send_into_full(region, command, caller),
            Err(NotPosted::Failed(error)) => Err(Stop::Failed(error)),
        }
    }

    #[cold]
    fn send_into_full(
        &self,
        region: &Region,
        command: &Command,
        caller: &mut Caller<'_>,
    ) -> Result<Option<Ticket>, Stop> {
        caller.check_may_wait()?;
        loop {
            let seen = self.shared.changes();
            Producer::want_room(&self.shared.kernel_area());
            match self.post(region, command, caller.index) {
                Ok(posted) => return Ok(posted.ticket()),
                Err(NotPosted::Full) => {}
                Err(NotPosted::Failed(error)) => return Err(Stop::Failed(error)),
            }
            caller.patience.sleeps();
            let waited = self.shared.wait_for_room(seen, caller.deadline);
            waited.map_err(stopped)?;
        }
    }

    /// Receives the answer to a request. As long as there are no other changes than `seen`,
    /// nothing stands against it.
    #[inline(always)]
    pub(super) fn receive(
        &self,
        region: &Region,
        request: u64,
        mut seen: u32,
        caller: &mut Caller<'_>,
    ) -> Result<Reply, Stop> {
        let vcpu = caller.index;
        let mut answer = self.answer_at_once(vcpu, request, caller.patience);
        loop {
            if let Some(data) = answer {
                return Ok(Reply { data });
            }
            let changes = self.shared.changes();
            if changes != seen {
                self.check(region, &self.state.lock())
                    .map_err(Stop::Failed)?;
                seen = changes;
            }
            caller.check_may_wait()?;
            caller.patience.spin.had_to_sleep();
            caller.patience.sleeps();
            let slept = self.shared.sleep(vcpu, request, seen, caller.deadline);
            answer = slept.map_err(stopped)?;
        }
    }

    /// The answer to what was just posted, if it comes without sleeping.
    #[inline(always)]
    pub(crate) fn answer_to(
        &self,
        posted: &Posted,
        vcpu: usize,
        patience: &mut Patience,
    ) -> Option<u64> {
        match posted.device_slept {
            true => None,
            false => self.answer_at_once(vcpu, posted.request, patience),
        }
    }

    #[inline(always)]
    fn answer_at_once(&self, vcpu: usize, request: u64, patience: &mut Patience) -> Option<u64> {
        let answer = self.answer(vcpu, request);
        if answer.is_some() || patience.spin.ns() == 0 {
            return answer;
        }
        self.spin(vcpu, request, patience)
    }

    #[inline(always)]
    fn answer(&self, vcpu: usize, request: u64) -> Option<u64> {
        completion::answer(&self.shared.device_area(), vcpu, request)
    }

    #[cold]
    fn spin(&self, vcpu: usize, request: u64, patience: &mut Patience) -> Option<u64> {
        if !self.shared.spin(vcpu, request, patience.spins()) {
            patience.spin.was_in_vain();
            return None;
        }
        patience.spin.was_answered();
        self.answer(vcpu, request)
    }

    /// Puts a command into the ring, and wakes the device for it if it sleeps.
    #[inline(always)]
    pub(crate) fn post(
        &self,
        region: &Region,
        command: &Command,
        vcpu: usize,
    ) -> Result<Posted, NotPosted> {
        let (own, device) = (self.shared.kernel_area(), self.shared.device_area());
        let (request, seen) = self.fill(&own, &device, region, command, vcpu)?;
        let device_slept = Producer::must_wake(&own, &device);
        if device_slept {
            self.shared.wake_device();
        }
        Ok(Posted {
            request,
            seen,
            device_slept,
        })
    }

    #[inline(always)]
    fn fill(
        &self,
        own: &Area<'_>,
        device: &Area<'_>,
        region: &Region,
        command: &Command,
        vcpu: usize,
    ) -> Result<(u64, u32), NotPosted> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let seen = self.shared.changes();
        self.check(region, state).map_err(NotPosted::Failed)?;
        let last = state
            .requests
            .get_mut(vcpu)
            .ok_or(NotPosted::Failed(ENOSPC))?;
        let request = match command.expects_reply {
            true => last.wrapping_add(1),
            false => 0,
        };
        let access = Access {
            command: *command,
            vcpu: vcpu as u32,
            request,
        };
        match state.producer.post(own, device, &access) {
            Ok(()) => {}
            Err(Refused::Full) => return Err(NotPosted::Full),
            Err(Refused::Broken { .. }) => {
                state.broken = true;
                self.shared.announce();
                return Err(NotPosted::Failed(EPROTO));
            }
        }
        if command.expects_reply {
            *last = request;
        }
        Ok((request, seen))
    }

    /// Whether commands of the region may go into the ring. When they no longer may, that is
    /// announced.
    #[inline(always)]
    fn check(&self, region: &Region, state: &State) -> Result {
        match region.is_removed() || state.broken || self.shared.device_is_gone() {
            false => Ok(()),
            true => Err(Self::why_not(region, state)),
        }
    }

    #[cold]
    fn why_not(region: &Region, state: &State) -> Error {
        match (region.is_removed(), state.broken) {
            (true, _) => ECANCELED,
            (_, true) => EPROTO,
            _ => EPIPE,
        }
    }
}
